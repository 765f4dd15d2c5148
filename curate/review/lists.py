"""The lists of images that a person may look at, in words: `--help` loads nothing else."""

LISTS = {
    "queue": "waits for a person: soft labels to review, contradictory labels, turn undecided",
    "issues": "trusted labels that are probably wrong, the best worth a look first",
    "audit": "random accepted labels: deciding all of them says how many are wrong",
    "duplicates": "each duplicate beside the copy that is kept",
    "recapture": "same picture, different label: kept apart, both stay",
    "turned": "brought upright by ingest",
    "quarantined": "set aside by ingest, with the reason",
    "tagged": "tags that could not be taken last time",
}
