"""The family of defenses that tune layers with clean images: loop, rates, layers."""
