"""What comes from outside: pictures of any origin, and folders full of them. Imports no torch."""
