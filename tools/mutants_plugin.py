"""Plugin of pytest for tools/mutation.py: the tests that are likely to notice a mutant come first.

Of the environment, REQUEST is {"subject": a word, "only": whether other tests are left out, "first": tests}. If there
are FILES, "number,number" of two open pipes, the tests are collected once. Then each line of the first pipe is a
request that has "units", too: libraries with a mutant's kernels and the functions that enter them into the table. They
are tried in a fork, and the second pipe gets a line with the first test that fails, "" if none does."""
import ctypes
import json
import os
import re
import select
import signal

failed = []


def pytest_runtest_logreport(report):
    if report.failed:
        failed.append(report.nodeid)


def in_order(items, subject, only, first, **_):
    """The tests that have the subject in their names, then those that noticed a mutant before, then all others."""
    word = re.compile(rf"(?<![^\W_]){re.escape(subject)}(?![^\W_])")
    place = {test: k for k, test in enumerate(first)}
    others = [item for item in items if subject and not word.search(item.nodeid)]
    named = [item for item in items if not subject or word.search(item.nodeid)]
    parts = [named] if only else [named, others]
    return [item for part in parts for item in sorted(part, key=lambda item: place.get(item.nodeid, len(place)))]


def pytest_collection_modifyitems(items):
    if "FILES" not in os.environ:
        items[:] = in_order(items, **json.loads(os.environ["REQUEST"]))


def pytest_runtestloop(session):
    if "FILES" not in os.environ:
        return None                             # pytest's own
    requests, answers = (int(number) for number in os.environ["FILES"].split(","))
    with open(requests) as lines:
        for line in lines:
            os.write(answers, (json.dumps(in_a_fork(session, json.loads(line))) + "\n").encode())
    return True


def in_a_fork(session, request):
    end, begin = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(begin, first_to_fail(session, request).encode())
        finally:
            os._exit(0)
    os.close(begin)
    ready, _, _ = select.select([end], [], [], request["timeout"])
    said = os.read(end, 10_000).decode() if ready else "a test that does not end"
    os.close(end)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return said.removeprefix(" ") if said else "the end of the interpreter"


def first_to_fail(session, request):
    """Its name after a space, for what ends without a word says nothing."""
    from microgradx._core import kernels
    dispatch = ctypes.CDLL(kernels.__file__).mgx_dispatch
    dispatch.restype = ctypes.c_void_p
    for path, enter in request["units"]:
        getattr(ctypes.CDLL(path), enter)(ctypes.c_void_p(dispatch()))
    items = in_order(session.items, **request)
    for item, after in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
        if failed:
            return " " + failed[0]
    return " "
