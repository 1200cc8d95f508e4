"""Methods refuse another ``self``: ``Tensor.sum("a")`` is a TypeError.

A method of a class that C defines takes the memory of its ``self`` to be an object's of that class. Cython's functions
do not look, unlike those of Python's own types; the build adds the look to what it generates (see ``setup.py``), and
here each function is told its class.
"""
cdef extern from *:
    """
    static int mgx_set_class(PyObject *function, PyObject *kind) {
        PyCMethodObject *method = (PyCMethodObject *) function;
        if (!method->mm_class) {
            Py_INCREF(kind);
            method->mm_class = (PyTypeObject *) kind;
        }
        return 0;
    }
    """
    int mgx_set_class(object function, object kind) except -1

import sys


def know_their_classes():
    """Tell the methods of all classes of the core that are loaded whose they are."""
    for name, module in list(sys.modules.items()):
        if not name.startswith("microgradx._core."):
            continue
        for kind in list(vars(module).values()):
            if isinstance(kind, type) and kind.__module__ == name and not kind.__flags__ & 1 << 9:      # no heap type
                for method in kind.__dict__.values():
                    if type(method).__name__ == "cython_function_or_method":
                        mgx_set_class(method, kind)
