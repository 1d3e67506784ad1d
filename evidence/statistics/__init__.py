"""The statistics behind the claims: pure functions on tables (pandas frames), no file is read here.

| question | module |
|---|---|
| are backdoored models sharper, over attacks, seeds and measures | `hierarchy` |
| what of it is clean loss: at matched loss, and as a mediation | `loss` |
| what purification changes, raw and at matched loss or accuracy | `purification` |
| what attack success rate is left at equal clean accuracy | `equal_accuracy` |
| what one method leaves more than another, over attacks | `over_attacks` |
| which measure tells a backdoored model from a benign one | `detector` |

They rest on `mixed` (linear mixed models), `resampling` (bootstrap intervals), `tables` (what a
frame must be), `estimates` (a number with its interval, p-value and n, and its sentence) and
`spreads` (between models, between seeds of purification).
"""
