"""What watches a program from inside its surroundings, whichever sandbox made those.

Standard library only: it runs in bare ``python -I -S`` processes, in slots and in containers alike.
"""
