from microgradx._core.graph cimport Vertex
from microgradx._core.ops cimport Differentiable

cdef class Value(Differentiable):
    cdef public double data, grad
    cdef Vertex v
    cdef double d[2]            # local derivatives; of an operand that is a number: the number. See `slopes`
