"""What comes from outside: pictures, folders full of them, checkpoints. Importing it imports no
torch.
"""
