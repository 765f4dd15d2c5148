"""Bona fide images to labelled synthetic attacks, and the sample faces of the demo."""
