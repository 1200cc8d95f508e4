from microgradx._core.array cimport Array, Node

cdef Array cotangent(str op, Array root, object gradient)
cdef int refuse_no_graph(str op, Array root) except -1
cdef int walk(Node root, Array g, bint retain_graph, bint create_graph, dict wanted) except -1
