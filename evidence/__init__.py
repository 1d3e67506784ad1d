"""Writes what ships in `assets`: the zoo, its cards, recordings, what was measured of the
claims.
"""
