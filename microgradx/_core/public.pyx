"""The functions that users call: by other libraries' names of their arguments, and named in what Python and NumPy
raise.

What this costs a call that has neither is a few instructions, for it is C that stands before the function: `names` says
what the names mean, and makes a ``Public`` of each function of the interface.
"""
from cpython.exc cimport PyErr_ExceptionMatches, PyErr_Fetch, PyErr_NormalizeException
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_XDECREF
from cpython.set cimport PySet_Contains

from microgradx.errors import RAW

cdef extern from *:
    """
    static void mgx_set_vectorcall(PyTypeObject *type, Py_ssize_t offset) {
        type->tp_call = PyVectorcall_Call;
        type->tp_vectorcall_offset = offset;
        type->tp_flags |= Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_METHOD_DESCRIPTOR;
        PyType_Modified(type);
    }
    """
    void mgx_set_vectorcall(PyTypeObject *type, Py_ssize_t offset)
    ctypedef PyObject *(*vectorcallfunc)(PyObject *, PyObject *const *, size_t, PyObject *) except NULL
    Py_ssize_t PyVectorcall_NARGS(size_t)
    PyObject *PyObject_Vectorcall(PyObject *, PyObject *const *, size_t, PyObject *)
    PyObject *PyObject_Call(PyObject *, object, object)
    PyObject *PyTuple_GET_ITEM(PyObject *, Py_ssize_t)
    Py_ssize_t PyTuple_GET_SIZE(PyObject *)
    object PyMethod_New(object, object)
    int PyException_SetTraceback(PyObject *, PyObject *) except -1


cdef class Public:
    """``function`` behind a door: ``known`` are the keywords that it takes, None if all; ``rename(args, keywords)``
    gives both, of a call with others; ``named(error, first)`` gives the error in the place of a raw one, where
    ``first`` is the first argument.

    ``direct`` is what a call of ``least`` to ``most`` arguments by position goes to, if the first is a ``kind``, or
    whatever it is where there is none: a method of a Tensor, which needs no look at its arguments, or a function of the
    core.
    """
    cdef vectorcallfunc vectorcall
    cdef object function, rename, named, direct, kind, __weakref__
    cdef frozenset known
    cdef Py_ssize_t least, most
    cdef dict __dict__

    def __init__(self, function not None, frozenset known, rename, named, direct=None, kind=None,
                 Py_ssize_t least=1, Py_ssize_t most=0):
        self.vectorcall = call
        self.function, self.known, self.rename, self.named = function, known, rename, named
        self.direct, self.kind, self.least, self.most = direct, kind, least, most if direct is not None else 0

    def __call__(self, *args, **kwargs):
        """Call it."""
        return self.function(*args, **kwargs)

    def __get__(self, instance, owner):
        return self if instance is None else PyMethod_New(self, instance)

    def __repr__(self):
        return f"<function {self.__qualname__}>"

    def __reduce__(self):
        return self.__qualname__                        # as functions are pickled: by their names


cdef Public first_public = Public.__new__(Public)
mgx_set_vectorcall(<PyTypeObject *> Public, <char *> &first_public.vectorcall - <char *> <void *> first_public)


cdef bint knows(PyObject *public, PyObject *keywords) except -1:
    """Are all of the keywords those of the function?"""
    cdef Py_ssize_t k
    if (<Public> public).known is not None:
        for k in range(PyTuple_GET_SIZE(keywords)):
            if not PySet_Contains((<Public> public).known, <object> PyTuple_GET_ITEM(keywords, k)):
                return False
    return True


cdef PyObject *call(PyObject *public, PyObject *const *args, size_t flags, PyObject *keywords) except NULL:
    cdef Py_ssize_t count = PyVectorcall_NARGS(flags)
    cdef PyObject *function = <PyObject *> (<Public> public).function
    cdef PyObject *result
    if keywords != NULL and not knows(public, keywords):
        result = renamed(<Public> public, args, count, keywords)
    else:
        if keywords == NULL and (<Public> public).least <= count <= (<Public> public).most and (
                (<Public> public).kind is None
                or <PyObject *> args[0].ob_type == <PyObject *> (<Public> public).kind):
            function = <PyObject *> (<Public> public).direct
        result = PyObject_Vectorcall(function, args, flags, keywords)
    if result == NULL:
        explain(<Public> public, args[0] if count else NULL)
    return result


cdef PyObject *renamed(Public public, PyObject *const *args, Py_ssize_t count, PyObject *keywords) except? NULL:
    """The call by the names that the function has for its arguments."""
    cdef Py_ssize_t k
    named = {<object> PyTuple_GET_ITEM(keywords, k): <object> args[count + k]
             for k in range(PyTuple_GET_SIZE(keywords))}
    given, named = public.rename(tuple([<object> args[k] for k in range(count)]), named)
    return PyObject_Call(<PyObject *> public.function, given, named)


cdef int explain(Public public, PyObject *first) except -1:
    """Raise the error that is set, or if it is a raw one that in its place."""
    cdef PyObject *kind
    cdef PyObject *value
    cdef PyObject *trace
    if not PyErr_ExceptionMatches(RAW):
        return -1
    PyErr_Fetch(&kind, &value, &trace)
    PyErr_NormalizeException(&kind, &value, &trace)
    if trace != NULL:
        PyException_SetTraceback(value, trace)
    error = <object> value
    Py_XDECREF(kind)
    Py_XDECREF(value)
    Py_XDECREF(trace)
    found = public.named(error, <object> first if first != NULL else None)
    if found is not error:
        found.__context__ = error
    raise found from error.__cause__
