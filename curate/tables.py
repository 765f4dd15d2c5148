"""Every table, column, dtype and range of the catalogue. Written here and nowhere else."""

import pandas as pd
import pyarrow as pa

from curate import schema
from curate.errors import SchemaError

TEXT, TEXTS, FLOATS = pa.string(), pa.list_(pa.string()), pa.list_(pa.float32())

TABLES: dict[str, pa.Schema] = {
    "images": pa.schema(
        {
            "image_id": TEXT,  # sha256 of the bytes, hex; of the uri where they cannot be read
            "uri": TEXT,
            "also_at": TEXTS,  # other places of the same bytes; `Catalogue.read` adds later ones
            "batch": TEXT,  # the run that brought the image
            "source": TEXT,  # recipe name
            "subject": TEXT,  # "<source>/<name>", null where unknown
            "clip": TEXT,  # "<source>/<name>", null where the image is no frame of a burst
            "origin": TEXT,
            "parent_id": TEXT,  # the bona fide image a synthetic one was made from
            "shows": TEXT,  # "face", or "eye": a patch of one eye, in which no face is looked for
            "official_split": TEXT,  # the split the source itself declares
            "turn": pa.int16(),
            "turn_confidence": pa.float32(),  # orient.Upright.confidence, in [0, 1]
            "mirror": TEXT,
            "status": TEXT,
            "reason": TEXT,  # why it is not kept; "" when kept
            "width": pa.int32(),  # pixels, EXIF applied, turn not
            "height": pa.int32(),
            "bytes": pa.int64(),
            "mtime_ns": pa.int64(),
            "exif_orientation": pa.int8(),  # 1..8, 1 where absent
            "phash": pa.list_(pa.int64()),  # the 8 poses of hashes.POSES, uint64 seen as int64
            "dhash": pa.list_(pa.int64()),  # likewise
            "phash_mode": TEXT,  # of both: "fast": scaled decode; "exact": full decode
            "canonical": pa.int16(),  # bit p is set where POSES[p] may be the canonical pose
            "face": FLOATS,  # x, y, w, h of the largest face in the upright image, pixels
            "face_score": pa.float32(),  # detector score in [0, 1]
            "landmarks": FLOATS,  # 6 points x, y in the upright image: faces.KEYPOINTS
            "given_box": FLOATS,  # x, y, w, h that the source gives, as fractions of the image
            "face_phash": pa.list_(pa.int64()),  # of the face: facehash.COLUMNS of them
            "face_dhash": pa.list_(pa.int64()),  # likewise
            "sharpness": pa.float32(),  # of the face, >= 0: examine.sharpness
            **{f"{name}_score": pa.float32() for name in schema.QUALITY},
            **{f"{name}_issue": pa.bool_() for name in schema.QUALITY},
            "seed": pa.int64(),  # of a synthetic image
            "parameters": TEXT,  # JSON, of a synthetic image
        }
    ),
    "places": pa.schema(  # where else the bytes of an image lie, and what that place says
        {
            "image_id": TEXT,
            "uri": TEXT,
            "bytes": pa.int64(),
            "mtime_ns": pa.int64(),
            "source": TEXT,
            "subject": TEXT,
            "clip": TEXT,
            "official_split": TEXT,
            "run_id": TEXT,
        }
    ),
    "labels": pa.schema(
        {
            "image_id": TEXT,
            "task": TEXT,
            "part": TEXT,
            "label": TEXT,
            "attack_type": TEXT,  # "" for bonafide
            "source": TEXT,
            "trusted": pa.bool_(),
            "run_id": TEXT,
        }
    ),
    "pairs": pa.schema(
        {
            "a": TEXT,
            "b": TEXT,
            "kind": TEXT,
            "relation": TEXT,  # the pose that turns a into b: "same", "rot90", "mirror", ...
            "distance": pa.int16(),  # bits of 64, in the best pose
            "similarity": pa.float32(),  # normalised correlation of the aligned pixels, in [-1, 1]
            "cluster": TEXT,  # image_id of the copy kept; "" unless a duplicate
            "worst": pa.float32(),  # least similarity of any two members of the cluster
            "run_id": TEXT,
        }
    ),
    "splits": pa.schema({"image_id": TEXT, "split": TEXT, "run_id": TEXT}),
    "soft_labels": pa.schema(
        {
            "image_id": TEXT,
            "task": TEXT,
            "part": TEXT,
            "run_id": TEXT,
            "label": TEXT,
            "attack_type": TEXT,
            # liveness: max(P(bonafide), 1 - P(bonafide)); other tasks: the largest of `probs`
            "confidence": pa.float32(),
            "probs": FLOATS,  # over schema.CLASSES_OF[task], sums to 1
            "status": TEXT,
            "reason": TEXT,  # why it goes to review; "" when accepted
            "teacher": TEXT,
            "threshold": pa.float32(),
            "bound": pa.float32(),  # bound on the share of wrong accepted labels, null: none holds
        }
    ),
    "issues": pa.schema(  # labels that a teacher which had not seen them doubts
        {
            "image_id": TEXT,
            "task": TEXT,
            "part": TEXT,
            "run_id": TEXT,
            "label": TEXT,  # the trusted label in doubt
            "attack_type": TEXT,
            "quality": pa.float32(),  # 0 surely wrong, 1 surely right
            "issue": pa.bool_(),
            "suggested": TEXT,  # what it may be instead, as labels.key writes it
            "rank": pa.int32(),  # 0 is looked at first
        }
    ),
    "audits": pa.schema(  # random samples of accepted soft labels that a person decides
        {
            "image_id": TEXT,
            "task": TEXT,
            "part": TEXT,
            "run_id": TEXT,
            "audited": TEXT,  # the softlabel run whose accepted labels are sampled
            "label": TEXT,  # what that run says
            "attack_type": TEXT,
        }
    ),
    "decisions": pa.schema(
        {
            "image_id": TEXT,
            "task": TEXT,
            "part": TEXT,
            "action": TEXT,
            "label": TEXT,
            "attack_type": TEXT,
            "reviewer": TEXT,
            "at": TEXT,  # ISO 8601, UTC
            "run_id": TEXT,
        }
    ),
    "forgotten": pa.schema(  # what `curate forget` erased and ingest leaves out
        {"mark": TEXT, "run_id": TEXT}  # an image_id, or the sha256 of a subject's name
    ),
    "runs": pa.schema(
        {
            "run_id": TEXT,
            "verb": TEXT,
            "state": TEXT,
            "undoes": TEXT,  # the run that this one makes invisible; "" for other verbs
            "started": TEXT,  # ISO 8601, UTC
            "seconds": pa.float64(),
            "config": TEXT,  # JSON, resolved
            "inputs": TEXT,  # JSON
            "code_version": TEXT,
            "counts": TEXT,  # JSON
        }
    ),
}

CLASSES: dict[tuple[str, str], tuple[object, ...]] = {
    ("images", "origin"): schema.ORIGINS,
    ("images", "status"): schema.IMAGE_STATUSES,
    ("images", "mirror"): schema.MIRRORS,
    ("images", "turn"): schema.TURNS,
    ("images", "shows"): (*schema.SHOWS, None),
    ("images", "phash_mode"): (*schema.HASH_MODES, None),
    ("images", "official_split"): (*schema.SPLITS, None),
    ("labels", "task"): schema.TASKS,
    ("pairs", "kind"): schema.PAIR_KINDS,
    ("splits", "split"): schema.SPLITS,
    ("soft_labels", "task"): schema.TASKS,
    ("soft_labels", "status"): schema.SOFT_STATUSES,
    ("issues", "task"): schema.TASKS,
    ("audits", "task"): schema.TASKS,
    ("decisions", "action"): schema.ACTIONS,
    ("runs", "state"): schema.RUN_STATES,
}

RANGES: dict[tuple[str, str], tuple[float, float]] = {
    ("images", "turn_confidence"): (0, 1),
    ("images", "face_score"): (0, 1),
    ("images", "exif_orientation"): (1, 8),
    **{("images", f"{name}_score"): (0, 1) for name in schema.QUALITY},
    ("pairs", "distance"): (0, 64),
    ("pairs", "similarity"): (-1, 1),
    ("pairs", "worst"): (-1, 1),
    ("soft_labels", "confidence"): (0, 1),
    ("issues", "quality"): (0, 1),
}

# What there is one row of, whatever runs were undone and brought back: the earliest counts.
DISTINCT = {
    "images": ["image_id"],
    "splits": ["image_id"],
    "pairs": ["a", "b"],
    "labels": ["image_id", "task", "part", "label", "attack_type", "source", "trusted"],
}

# The column that says which run wrote a row.
RUN_COLUMN = {"images": "batch"} | {
    name: "run_id"
    for name in (
        "places",
        "labels",
        "pairs",
        "splits",
        "soft_labels",
        "issues",
        "audits",
        "decisions",
        "forgotten",
    )
}


def empty(table: str) -> pd.DataFrame:
    """Return a frame of no rows with the columns and dtypes of ``table``."""
    frame: pd.DataFrame = TABLES[table].empty_table().to_pandas()
    return frame


def conform(table: str, frame: pd.DataFrame) -> pa.Table:
    """Return ``frame`` as an Arrow table of exactly the schema of ``table``, absent columns null.

    Raises:
        SchemaError: an unknown column, a value that does not fit its dtype, class or range.
    """
    wanted = TABLES[table]
    if unknown := sorted(set(frame.columns) - set(wanted.names)):
        raise SchemaError(f"table {table}: unknown columns {unknown}; known: {wanted.names}")
    _check_values(table, frame)
    return pa.table([_column(table, frame, field) for field in wanted], schema=wanted)


def _column(table: str, frame: pd.DataFrame, field: pa.Field) -> pa.Array:
    if field.name not in frame:
        return pa.nulls(len(frame), field.type)
    values = frame[field.name]
    if pa.types.is_list(field.type):
        values = values.astype("object").where(values.notna(), None)
    try:
        return pa.array(values, type=field.type, from_pandas=True)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise SchemaError(f"{table}.{field.name}: {error}; expected {field.type}") from error


def _check_values(table: str, frame: pd.DataFrame) -> None:
    for (name, column), allowed in CLASSES.items():
        if name == table and column in frame:
            got = {None if pd.isna(value) else value for value in frame[column].unique()}
            if bad := sorted(map(repr, got - set(allowed))):
                raise SchemaError(f"{table}.{column}: {', '.join(bad)} not in {allowed}")
    for (name, column), (low, high) in RANGES.items():
        if name == table and column in frame:
            values = pd.to_numeric(frame[column]).dropna()
            if ((values < low) | (values > high)).any():
                raise SchemaError(
                    f"{table}.{column}: values must lie in [{low}, {high}], "
                    f"got {values.min()} to {values.max()}"
                )
