/* A pool of threads for launches that are large enough to pay for waking them.
   Work is cut into pieces whose size does not depend on the number of threads, so neither do results. One launch at a
   time has the pool; whoever finds it taken does its work alone. A child after fork begins without threads and makes
   its own. */
#include "kernels.h"

static int wanted = 1;

#if defined(_WIN32)
int mgx_threads(int count) { int before = wanted; if (count > 0) wanted = count; return before; }
void mgx_parallel(ptrdiff_t pieces, mgx_piece piece, void *what)
{
    for (ptrdiff_t i = 0; i < pieces; i++)
        piece(what, i);
}
#else
#include <pthread.h>
#include <signal.h>

static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER, table = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
static int alive;                                   /* threads beside the callers */
static struct { mgx_piece piece; void *what; ptrdiff_t count, next, left; } task;

/* Take pieces until none is left. The table is locked before and after. */
static void help(void)
{
    while (task.next < task.count) {
        ptrdiff_t i = task.next++;
        mgx_piece piece = task.piece;
        void *what = task.what;
        pthread_mutex_unlock(&table);
        piece(what, i);
        pthread_mutex_lock(&table);
        if (--task.left == 0)
            pthread_cond_signal(&finished);
    }
}

static void *wait_and_help(void *number)
{
    pthread_mutex_lock(&table);
    for (;;) {
        while (task.next >= task.count || (ptrdiff_t)number >= wanted)
            pthread_cond_wait(&called, &table);
        help();
    }
    return 0;
}

static void before_fork(void) { pthread_mutex_lock(&door); pthread_mutex_lock(&table); }
static void in_parent(void) { pthread_mutex_unlock(&table); pthread_mutex_unlock(&door); }
static void in_child(void)
{
    door = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER, table = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    called = (pthread_cond_t)PTHREAD_COND_INITIALIZER, finished = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    alive = 0, task.count = task.next = 0;
}

/* As many threads as are wanted, beside this one; fewer where the system gives no more. */
static void wake(void)
{
    static int prepared;
    sigset_t all, before;
    if (!prepared)
        prepared = !pthread_atfork(before_fork, in_parent, in_child);
    sigfillset(&all);                               /* signals are for the threads of Python */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    for (pthread_t thread; prepared && alive < wanted - 1; alive++) {
        if (pthread_create(&thread, 0, wait_and_help, (void *)(ptrdiff_t)(alive + 1)))
            break;
        pthread_detach(thread);
    }
    pthread_sigmask(SIG_SETMASK, &before, 0);
}

int mgx_threads(int count)
{
    pthread_mutex_lock(&table);
    int before = wanted;
    if (count > 0)
        wanted = count;
    pthread_mutex_unlock(&table);
    return before;
}

void mgx_parallel(ptrdiff_t pieces, mgx_piece piece, void *what)
{
    if (wanted > 1 && pieces > 1 && !pthread_mutex_trylock(&door)) {
        if (alive < wanted - 1)
            wake();
        pthread_mutex_lock(&table);
        task.piece = piece, task.what = what, task.count = task.left = pieces, task.next = 0;
        pthread_cond_broadcast(&called);
        help();
        while (task.left)
            pthread_cond_wait(&finished, &table);
        pthread_mutex_unlock(&table);
        pthread_mutex_unlock(&door);
        return;
    }
    for (ptrdiff_t i = 0; i < pieces; i++)
        piece(what, i);
}
#endif

/* ----- pieces with polls, and what is noted of them */
static mgx_poll poll_caller;

void mgx_set_poll(mgx_poll poll)
{
    poll_caller = poll;
}

typedef struct { mgx_piece piece; void *what; ptrdiff_t first; } Batch;

static void batch_piece(void *batch, ptrdiff_t i)
{
    const Batch *b = batch;
    b->piece(b->what, b->first + i);
}

ptrdiff_t mgx_run_pieces(ptrdiff_t pieces, mgx_piece piece, void *what)
{
    for (Batch b = {piece, what, 0}; b.first < pieces; b.first += MGX_BATCH) {
        if (b.first && poll_caller && poll_caller())
            return MGX_INTERRUPTED;
        mgx_parallel(pieces - b.first < MGX_BATCH ? pieces - b.first : MGX_BATCH, batch_piece, &b);
    }
    return MGX_DONE;
}

void mgx_note_first(ptrdiff_t *first, ptrdiff_t bad)
{
#if defined(_WIN32)
    if (*first == MGX_DONE || bad < *first)
        *first = bad;
#else
    pthread_mutex_lock(&table);
    if (*first == MGX_DONE || bad < *first)
        *first = bad;
    pthread_mutex_unlock(&table);
#endif
}
