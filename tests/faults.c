/* Lets the n-th allocation of a thread fail, once. For LD_PRELOAD: with PYTHONMALLOC=malloc Python's objects are among
   them. It tells which functions had asked for it, and which ran when a signal ended the process. See faults.py. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <execinfo.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

#define PER_THREAD static __thread __attribute__((tls_model("initial-exec")))
PER_THREAD long left, first;            /* allocations until one fails, 0: none will; what that was at first */

enum { DEEP = 64 };
static void *stack[DEEP];               /* of the allocation that failed */
static int depth;
static char text[1 << 14];

void faults_after(long n) { left = first = n, depth = 0; }

/* how many allocations there were since, if none has failed; else 0 */
long faults_end(void)
{
    long count = left ? first - left : 0;
    left = 0;
    return count;
}

static int fails(void)
{
    if (left == 0 || --left > 0)
        return 0;
    depth = backtrace(stack, DEEP);
    errno = ENOMEM;
    return 1;
}

/* "library:function" of each frame but the first `skip`, innermost first */
static const char *described(void **frame, int count, int skip)
{
    size_t n = 0;
    for (int i = skip; i < count; i++) {
        Dl_info info = {0};
        dladdr(frame[i], &info);
        const char *file = info.dli_fname ? info.dli_fname : "?", *slash = strrchr(file, '/');
        n += snprintf(text + n, sizeof text - n, "%s:%s ", slash ? slash + 1 : file, info.dli_sname ? info.dli_sname : "?");
        if (n >= sizeof text - 256)
            break;
    }
    return text;
}

const char *faults_where(void) { return depth ? described(stack, depth, 2) : ""; }

static void killed(int signal)
{
    void *frame[DEEP];
    const char *said = described(frame, backtrace(frame, DEEP), 2);
    ssize_t done = write(2, "crash: ", 7);
    done = write(2, said, strlen(said));
    done = write(2, "\nfailed: ", 9);
    said = faults_where();
    done = write(2, said, strlen(said));
    (void)done;
    _exit(128 + signal);
}

void faults_watch(void)
{
    int signals[] = {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGALRM};
    for (int i = 0; i < 5; i++)
        signal(signals[i], killed);
    backtrace(stack, DEEP);             /* what it loads it has from now on */
}

void *malloc(size_t n) { return fails() ? NULL : __libc_malloc(n); }
void *calloc(size_t n, size_t size) { return fails() ? NULL : __libc_calloc(n, size); }
void *realloc(void *p, size_t n) { return fails() ? NULL : __libc_realloc(p, n); }
void *aligned_alloc(size_t to, size_t n) { return fails() ? NULL : __libc_memalign(to, n); }
int posix_memalign(void **p, size_t to, size_t n) { return fails() || !(*p = __libc_memalign(to, n)) ? ENOMEM : 0; }
