"""What a profile reads: the launches of a thread with their times, from the recording that the door kept."""
from linecache import getline

from microgradx._core.array cimport dtype_of
from microgradx._core.kernels cimport *
from microgradx._core.launch cimport HOST, KERNELS, Event, LaunchList, is_capturing, row_name, set_recording

from microgradx.errors import CaptureError


def start():
    """Time the launches of this thread from now on; what is returned is for `stop`."""
    cdef LaunchList timed
    if is_capturing():
        raise CaptureError("profile: a profile does not begin while a program is captured; let it go around the call "
                           "of the compiled function")
    timed = LaunchList()
    timed.timed = True
    timed.outer = set_recording(timed)
    return timed


def stop(LaunchList timed not None):
    """End it, whether or not profiles that began later have ended."""
    cdef LaunchList inner = set_recording(None)
    if inner is timed:
        set_recording(timed.outer)
        return
    set_recording(inner)
    while inner is not None:
        if inner.outer is timed:
            inner.outer = timed.outer
            return
        inner = inner.outer


cdef str line_of(object site):
    if site is None:
        return ""
    code, offset = site
    line = next((n for first, last, n in code.co_lines() if first <= offset < last), code.co_firstlineno)
    return f"{code.co_filename}:{line}"


def events(LaunchList timed not None):
    """[(launch, operation, dtype, line, start, seconds, bytes, flops)]; None for flops that are not known."""
    cdef Py_ssize_t i
    cdef Event *e
    cdef list found = [], lines = [line_of(site) for site in timed.sites]
    for i in range(timed.events):
        e = &timed.event[i]
        name = <str> <object> e.name if e.name != NULL else row_name(e.table, e.row, e.part)
        operation = kernel_rows[e.row].operation.decode() if e.table == KERNELS else name.partition(".")[0]
        found.append((name, operation, "" if e.table == HOST else dtype_of(e.dtype).name, lines[e.site], e.start,
                      e.seconds, None if e.table == HOST else e.bytes, e.flops if e.flops >= 0 else None))
    return found


def source(str line):
    """The text of 'file:line'."""
    file, _, number = line.rpartition(":")
    return getline(file, int(number)).strip() if number else ""
