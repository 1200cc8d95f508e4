"""What a verdict means and what to do about it, in a sentence each, for who meets the word for the first time."""
from microgradx.flow import prescriptions as p

__all__ = ["ADVICE", "MEANING"]

HEALTHY = "healthy"
# what only a loop can show
STILL, PILES, NAN_LOSS, ENDED, CLIPPED, MODE = (
    "weights never move", "gradients accumulate", "loss not finite", "rate ended", "clipping always bites",
    "train and eval mixed up")

MEANING = {
    HEALTHY: "the cost falls, on rows that were not trained on, too",
    p.BACKWARD: "the error that comes back from the output is so small at the first layers that they do not learn",
    p.FORWARD: "what tells one input from another is lost on its way to the output",
    p.EXPLODING: "errors or values grow from layer to layer until the steps are useless",
    p.DYING: "units whose slope is 0 on every row: they pass no error and never change",
    p.SATURATED: "units at the flat ends of their activation, where the slope and so the error is nearly 0",
    p.SYMMETRIC: "units that start equal and get equal errors stay equal: the layer is as good as one unit",
    p.SCALE: "inputs or targets so far from mean 0 and variance 1 that no single rate suits the weights",
    p.FAST: "each step goes past the least of the cost",
    p.SLOW: "the steps are too short to get anywhere in this time",
    p.CUT: "a part of the net gets no error at all, because the graph does not lead there",
    p.SILENT: "the cost is not at its least, and still nothing comes back from it",
    p.NAN: "the cost is a number, and its derivative is not",
    p.UNREACHABLE: "whatever the weights are, the outputs cannot become what the targets ask for",
    p.PROBABILITIES: "the cost applies its own sigmoid or softmax to outputs that have gone through one already",
    p.ENDLESS: "a cost that any output can lower for ever does not measure how wrong the net is",
    p.PAIRING: "each output is compared with the targets of other rows, so the best it can be is their mean",
    p.UNTRAINED: "weights that the output depends on and that no step changes",
    p.STRONG_DECAY: "weight decay pulls the weights to 0 more strongly than the cost moves them",
    p.STRONG_DROPOUT: "so much is dropped that too little of the signal is left",
    p.IMBALANCE: "nearly all rows have one class, and always to answer with that one costs little",
    p.NO_NONLINEARITY: "layers with nothing between them are one matrix: a straight line is all that they can draw",
    p.ASCENT: "the optimizer makes the cost larger",
    p.TIME: "what came early in a sequence has no influence on the weights any more",
    STILL: "steps are made, or are not, and the weights stay what they were",
    PILES: "the gradients of earlier steps were not cleared, so each step goes along their sum",
    NAN_LOSS: "the loss is no number any more, or is infinite",
    ENDED: "the schedule has brought the rate to nearly nothing long before the training ended",
    CLIPPED: "nearly every gradient is cut to a small part of itself, so all steps have one length",
    MODE: "dropout and batch norms behaved as in the other of training and evaluation",
    p.WRONG: "the gradient is not the slope of the cost",
    p.ELSEWHERE: "errors arrive in all layers; the reason is in the data, the labels, or in what the net can represent"}

ADVICE = {
    HEALTHY: "go on",
    p.BACKWARD: "use weights of critical variance, a norm, or ways past the layers",
    p.FORWARD: "use weights of critical variance, a norm, or ways past the layers",
    p.EXPLODING: "use smaller weights, scale the branches, or normalise what goes into them",
    p.DYING: "use smaller biases or another rate, or an activation that is not flat on one side",
    p.SATURATED: "use smaller weights and standardised inputs; at the output, a cost of the logits",
    p.SYMMETRIC: "draw the weights at random",
    p.SCALE: "standardise the data, by numbers from the rows that are trained on",
    p.FAST: "lower the rate",
    p.SLOW: "raise the rate",
    p.CUT: "find what breaks the graph there (detach, no_grad, item, numpy, argmax) and keep the tensor",
    p.SILENT: "take away what is flat between the last layer and the cost",
    p.NAN: "keep the cost from where its slope is infinite: sqrt(x + 1e-8), log(x + 1e-8), x / (y + 1e-8)",
    p.UNREACHABLE: "end in a layer without an activation, or bring the targets into its range",
    p.PROBABILITIES: "give the cost the output of the last layer itself",
    p.ENDLESS: "give the cost what it takes (nll_loss takes log_softmax), or another cost; look at its sign",
    p.PAIRING: "give outputs and targets the same shape",
    p.UNTRAINED: "put layers into an nn.ModuleList, tensors into an nn.Parameter, and all of them into the optimizer",
    p.STRONG_DECAY: "lower weight_decay",
    p.STRONG_DROPOUT: "lower the probability",
    p.IMBALANCE: "weigh the classes in the cost or draw the rare ones more often, and count the rare ones found",
    p.NO_NONLINEARITY: "put an activation between the layers",
    p.ASCENT: "set maximize=False",
    p.TIME: "use an LSTM with open forget gates, an orthogonal recurrence, attention, or shorter sequences",
    p.WRONG: "check the derivative that you wrote (gradcheck)",
    p.ELSEWHERE: "look at some rows and their labels, and at a larger net",
    STILL: "call optimizer.step() after loss.backward(), on the optimizer that holds these weights, at a rate above 0",
    PILES: "call optimizer.zero_grad() once before each backward pass, or after each step",
    NAN_LOSS: "look at what makes the number: a logarithm of 0, 0 / 0, an empty mean, or an input that is nan",
    ENDED: "step the schedule once per epoch if its numbers are epochs, or give it the number of steps of this run",
    CLIPPED: "raise the bound to about the usual norm, or lower the rate and clip what is rare",
    MODE: "call model.train() before training and model.eval() before evaluation"}
