"""The words of the catalogue: tasks, classes, statuses, reasons. Written here and nowhere else.

Plain tuples, so that the command line can name them without loading anything; the tables that hold
them are in tables.py.
"""

LIVENESS = "liveness"  # of whole images; the others label parts of a face
TASKS = (LIVENESS, "eyes", "occlusion")
BONAFIDE, ATTACK = "bonafide", "attack"
ATTACK_TYPES = (
    "print",
    "cutout",
    "replay_phone",
    "replay_tablet",
    "replay_monitor",
    "mask_paper",
    "mask_3d",
    "digital",
    "unknown",
)
LIVENESS_CLASSES = (BONAFIDE, *ATTACK_TYPES)
# Per task: the classes in the order of `probs`, and the parts of a face that have a label each;
# `eye` is a patch that does not say which one it shows.
CLASSES_OF = {
    LIVENESS: LIVENESS_CLASSES,
    "eyes": ("open", "closed", "blocked"),
    "occlusion": ("clear", "blocked"),
}
PARTS_OF: dict[str, tuple[str, ...]] = {
    LIVENESS: ("",),
    "eyes": ("left_eye", "right_eye", "eye"),
    "occlusion": ("left_eye", "right_eye", "nose", "mouth", "chin", "forehead"),
}
ORIGINS = ("mined", "captured", "synthetic")
IMAGE_STATUSES = ("kept", "duplicate", "quarantined")
MIRRORS = ("no", "yes", "ambiguous")
TURNS = (0, 90, 180, 270, -1)  # degrees clockwise that bring the image upright, -1 undecided
PAIR_KINDS = ("duplicate", "recapture", "candidate", "contamination")
SPLITS = ("train", "dev", "test")
SOFT_STATUSES = ("accepted", "review")
SHOWS = ("face", "eye")
HASH_MODES = ("fast", "exact")
ACTIONS = ("accept", "relabel", "reject", "keep")
RUN_STATES = ("done", "refused")

# What quality.py judges: a score in [0, 1], 1 is good, and whether it is an issue.
QUALITY = (
    "blur",
    "exposure",
    "contrast",
    "face_size",
    "head_pose",
    "several_faces",
    "no_face",
    "borders",
    "gray",
    "compression",
)

# Why a soft label waits for a person.
UNSURE = "less sure than the threshold"
CONTRADICTS = "contradicts the label it came with"
STRANGE = "looks bona fide to the teacher, yet unlike what it learnt from"
BLIND = "the teacher has no opinion: no face, or it learnt from this person"
DOUBTED = "trusted label doubted by a teacher that had not seen it"

# Why an image is not kept, in the words that the summary, the report and the review show.
REASONS = {
    "empty": "the file holds 0 bytes",
    "not_an_image": "no known image header",
    "truncated": "the file ends early",
    "corrupt": "the decoder found damage",
    "too_large": "more pixels than we decode",
    "unreadable": "the operating system would not give its bytes",
    "refused": "an archive member that is a link, an archive, leads outside or is encrypted",
    "heic_extra": "HEIC needs pip install 'curate[heic]'",
    "unsupported": "a kind of pixels, or a way of packing them, that we do not read",
    "no_face": "no face was found in any of the four turns",
    "small_face": "the face is too small to judge",
    "contamination": "its subject or a copy of it sits in dev or test",
    "duplicate": "a better copy is kept",
    "thinned": "--burst left it out: other frames of its clip are kept",
}

REDRAW = "resplit"  # the verb whose rows of `splits` count instead of all earlier ones
