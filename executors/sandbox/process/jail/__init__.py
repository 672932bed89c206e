"""The inside of the process sandbox. Standard library only: it runs in bare ``python -I -S`` processes.

Words used here: a *slot* is a long-lived process that owns a prepared root, a network namespace and
a control group, and runs one program at a time; a *cell* is the single-use first process (PID 1) of
one program's PID namespace. Every process of the program is below it and ends with it.
"""
