"""Sweeps beyond one machine, on the workers of a Dask scheduler: what this process does
(`service`), whom it trusts (`workers`), how a run travels where the store is not seen (`away`,
`parcel`), and what happens there (`on_worker`). Dask is imported only where it is used. No torch.
"""
