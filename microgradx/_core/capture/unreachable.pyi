# Nothing in this module is called from Python.
