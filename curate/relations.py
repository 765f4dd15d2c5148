"""What was done to one picture to make the other of it, in words: "rot90, cropped, brighter"."""

from curate.agreement import Agreement
from curate.hashes import POSES, Pose

# Each well above what re-encoding alone does (at most 0.01 of the area, 0.1 degrees, 0.4 levels).
CROPPED = 0.04  # share of the area
TURNED = 1.0  # degrees
SCALED = 0.1  # of the side
TONE = 6.0  # grey levels
CONTRAST = 0.12  # share
BLURRED = 1.8  # ratio of the two `sharpness`; a quality of 30 makes 1.2, half the size 1.5


def relation(pose: Pose, found: Agreement, *, zoom: float = 1.0, blur: float = 1.0) -> str:
    """Return the pose that turns a into b, then what else b is, seen from a; comma separated.

    ``zoom`` is the full size of a over that of its view, divided by the same of b; ``blur`` the
    sharpness of a over that of b.
    """
    words = [*_cut(found), *_size(found.scale * zoom), *_tone(found), *_sharpness(blur)]
    return ", ".join([pose.name, *(words or ["re-encoded"])])


def pose_of(words: str) -> Pose:
    """Return the pose that a relation names."""
    name = words.split(",")[0]
    return next(pose for pose in POSES if pose.name == name)


def inverse(pose: Pose) -> Pose:
    """Return the pose that undoes ``pose``; one that mirrors undoes itself."""
    turn = pose.turn if pose.mirror else -pose.turn % 360
    return next(each for each in POSES if (each.turn, each.mirror) == (turn, pose.mirror))


def after(first: Pose, then: Pose) -> Pose:
    """Return the pose that does both; a mirror between the two turns the second turn round."""
    turn = (first.turn + (-then.turn if first.mirror else then.turn)) % 360
    mirror = first.mirror != then.mirror
    return next(pose for pose in POSES if (pose.turn, pose.mirror) == (turn, mirror))


def _cut(found: Agreement) -> list[str]:
    words = []
    if found.area < 1 - CROPPED:
        words.append("cropped")
    elif found.area > 1 + CROPPED:
        words.append("shows more")
    if abs(found.degrees) >= TURNED:
        words.append(f"turned by {found.degrees:.0f} degrees")
    return words


def _size(scale: float) -> list[str]:
    if abs(scale - 2) < SCALED:
        return ["half size"]
    if abs(scale - 0.5) < SCALED / 4:
        return ["double size"]
    if scale > 1 + SCALED:
        return ["smaller"]
    return ["larger"] if scale < 1 / (1 + SCALED) else []


def _tone(found: Agreement) -> list[str]:
    words = []
    if abs(found.brighter) >= TONE:
        words.append("brighter" if found.brighter > 0 else "darker")
    elif abs(found.contrast - 1) > CONTRAST:
        words.append("more contrast" if found.contrast > 1 else "less contrast")
    return words


def _sharpness(blur: float) -> list[str]:
    if blur > BLURRED:
        return ["blurred"]
    return ["sharper"] if blur < 1 / BLURRED else []
