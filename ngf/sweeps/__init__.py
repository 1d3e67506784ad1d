"""Many runs at once: a specification with axes (`spec`), its folder (`folder`), and its execution
on this machine (`local`). No torch.
"""
