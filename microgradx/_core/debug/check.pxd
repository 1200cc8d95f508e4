from microgradx._core.capture.captured cimport CapturedCall

cdef object checked(CapturedCall call, tuple arguments, object run_eagerly, object shared)
