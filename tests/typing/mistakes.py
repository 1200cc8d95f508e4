"""What must not pass: every line that mypy does not complain about makes it say that its ``ignore`` is unused."""
import microgradx as mgx
from microgradx import Tensor, Value, data, nn, optim

x = Tensor([1.0])
x.shape = (1,)                          # type: ignore[misc]
x.reshape(2.0)                          # type: ignore[arg-type]
x.no_such_operation()                   # type: ignore[attr-defined]
x.sum(axs=0)                            # type: ignore[call-arg]
x.grad.item()                           # type: ignore[union-attr]
x + {}                                  # type: ignore[operator]
mgx.exp()                               # type: ignore[call-overload]
mgx.exp(object())                       # type: ignore[call-overload]
mgx.no_such_function(x)                 # type: ignore[attr-defined]
mgx.save(x, 3)                          # type: ignore[arg-type]
mgx.manual_seed("0")                    # type: ignore[arg-type]
Value("a")                              # type: ignore[arg-type]
Value(1.0).label = 3                    # type: ignore[assignment]
data.moons("100")                       # type: ignore[arg-type]
nn.Linear("2", 3)                       # type: ignore[arg-type]
nn.Linear(2, 3, baias=False)            # type: ignore[call-arg]
nn.functional.mse_loss(x)               # type: ignore[call-arg]
nn.LeakyReLU(slope=0.1)                 # type: ignore[call-arg]
nn.NoSuchLayer()                        # type: ignore[attr-defined]
optim.SGD([x], learning_rate=0.1)       # type: ignore[call-arg]
optim.Adam([x], betas=0.9)              # type: ignore[arg-type]
mgx.zeros(2, dtype=mgx.float32).foo     # type: ignore[attr-defined]
mgx.linalg.nrom(x)                      # type: ignore[attr-defined]
mgx.jacobian(x.sum, argnums="0")        # type: ignore[arg-type]
