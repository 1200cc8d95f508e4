/* A pool of threads for launches that are large enough to pay for waking them, and the look for signals.
   Work is cut into pieces whose size does not depend on the number of threads, so neither do results. One launch at a
   time has the pool; whoever finds it taken does its work alone. A child after fork begins without threads and makes
   its own.
   Only the thread that called looks for signals: between pieces, while it waits for others, and where a kernel that
   walks long asks. */
#include "kernels.h"
#include <stdatomic.h>
#include <time.h>

enum { LOOKS = 5, WAITS = 20 };         /* milliseconds: from one look for signals to the next; of waiting for others */

typedef struct {
    mgx_piece piece;
    void *what;
    ptrdiff_t count, next, left;        /* of the pieces; `left` are not done */
    int polls, shared;
    atomic_int stopped;
} Task;

static mgx_poll poll_caller;
static MGX_THREAD_LOCAL Task *mine;     /* whose pieces this thread runs, or NULL */
static MGX_THREAD_LOCAL int helps;      /* is it one of the pool? */
static int wanted = 1, forks;

void mgx_set_poll(mgx_poll poll)
{
    poll_caller = poll;
}

static int look(Task *task)
{
    static MGX_THREAD_LOCAL double looked;
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    const double now = 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
    if (!poll_caller || (now >= looked && now < looked + LOOKS))
        return 0;
    const int before = forks;
    mine = NULL;                        /* a handler may launch something of its own */
    const int stop = poll_caller(!task || !task->shared);
    mine = task, looked = now;
    return stop || (before != forks && task && task->shared);       /* in a child the others' pieces are lost */
}

int mgx_signalled(void)
{
    return look(NULL);
}

int mgx_interrupted(void)
{
    Task *task = mine;
    if (!task || helps || !task->polls || task->stopped)
        return task && task->stopped;
    return task->stopped = look(task);
}

static void run_alone(Task *task)
{
    for (; task->next < task->count && !mgx_interrupted(); task->next++)
        task->piece(task->what, task->next);
}

#if defined(_WIN32)
int mgx_threads(int count) { int before = wanted; if (count > 0) wanted = count; return before; }
static int run_together(Task *task) { return 0; }
static int lock_notes(void) { return 0; }
static int unlock_notes(void) { return 0; }
#else
#include <pthread.h>
#include <signal.h>

static pthread_mutex_t door = PTHREAD_MUTEX_INITIALIZER, table = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t called = PTHREAD_COND_INITIALIZER, finished = PTHREAD_COND_INITIALIZER;
static int alive;                                   /* threads besides the callers */
static Task *pooled;                                /* the task that has the pool, or NULL */

/* Take pieces until none is left. The table is locked before and after. */
static void help(Task *task)
{
    mine = task;
    while (task->next < task->count) {
        ptrdiff_t i = task->next++;
        pthread_mutex_unlock(&table);
        if (!mgx_interrupted())
            task->piece(task->what, i);
        pthread_mutex_lock(&table);
        if (--task->left == 0)
            pthread_cond_signal(&finished);
    }
}

static void *wait_and_help(void *number)
{
    helps = 1;
    pthread_mutex_lock(&table);
    for (;;) {
        while (!pooled || pooled->next >= pooled->count || (ptrdiff_t)number >= wanted)
            pthread_cond_wait(&called, &table);
        help(pooled);
    }
    return 0;
}

/* The door stays as it is: whoever has it may wait in a look for signals for the thread that forks. */
static void before_fork(void) { pthread_mutex_lock(&table); }
static void in_parent(void) { pthread_mutex_unlock(&table); }
static void in_child(void)
{
    door = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER, table = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
    called = (pthread_cond_t)PTHREAD_COND_INITIALIZER, finished = (pthread_cond_t)PTHREAD_COND_INITIALIZER;
    alive = 0, pooled = NULL, forks++;
}

/* As many threads as are wanted, besides this one; fewer where the system gives no more. */
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

/* The table is locked before and after. */
static void wait_for_others(const Task *task)
{
    struct timespec until;
    while (pooled == task && task->left) {
        timespec_get(&until, TIME_UTC);
        until.tv_nsec += WAITS * 1000000L;
        until.tv_sec += until.tv_nsec / 1000000000L, until.tv_nsec %= 1000000000L;
        pthread_cond_timedwait(&finished, &table, &until);
        pthread_mutex_unlock(&table);
        mgx_interrupted();
        pthread_mutex_lock(&table);
    }
}

/* With the pool, if nobody else has it. */
static int run_together(Task *task)
{
    if (wanted <= 1 || task->count <= 1 || pthread_mutex_trylock(&door))
        return 0;
    if (alive < wanted - 1)
        wake();
    pthread_mutex_lock(&table);
    pooled = task, task->shared = 1;
    pthread_cond_broadcast(&called);
    help(task);
    wait_for_others(task);
    const int kept = pooled == task;                /* not in a child that a handler has forked */
    if (kept)
        pooled = NULL;
    pthread_mutex_unlock(&table);
    if (kept)
        pthread_mutex_unlock(&door);
    return 1;
}

static int lock_notes(void) { return pthread_mutex_lock(&table); }
static int unlock_notes(void) { return pthread_mutex_unlock(&table); }
#endif

ptrdiff_t mgx_run_pieces(ptrdiff_t pieces, mgx_piece piece, void *what, int polls)
{
    Task task = {piece, what, pieces, 0, pieces, polls, 0, 0}, *before = mine;
    mine = &task;
    if (!run_together(&task))
        run_alone(&task);
    mine = before;
    return task.stopped ? MGX_INTERRUPTED : MGX_DONE;
}

void mgx_note_first(ptrdiff_t *first, ptrdiff_t bad)
{
    lock_notes();
    if (*first == MGX_DONE || bad < *first)
        *first = bad;
    unlock_notes();
}
