"""The family of defenses that search for what may be a trigger, and unlearn it."""
