"""What isolates a program, behind one interface."""
