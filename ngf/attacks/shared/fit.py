"""Whether a trigger can be seen on images of a size at all, from its options alone. No torch: the
door for runs asks this before anything starts, and the attacks ask the same.
"""

from __future__ import annotations

from ngf.attacks.shared.drawing import decode
from ngf.options import SpecError

CORNERS = ("bottom right", "bottom left", "top right", "top left")
ROOM = "Choose a smaller size or margin."  # what to do about a patch that does not fit


def check_inside(
    what: str, size: tuple[int, int], place: tuple[int, int], image: tuple[int, int], advice: str
) -> None:
    """Raise SpecError unless a rectangle lies inside the image.

    what: what the rectangle is, such as `A drawing`.
    size, image: height and width.
    place: row and column of its first pixel.
    """
    if min(place) < 0 or any(place[i] + size[i] > image[i] for i in (0, 1)):
        raise SpecError(
            f"{what} of {size[0]}x{size[1]} pixels at row {place[0]}, column {place[1]} does not "
            f"fit into an image of {image[0]}x{image[1]}. {advice}"
        )


def place_of_drawing(
    drawing: str, row: int, column: int, scale: int, image: tuple[int, int]
) -> tuple[slice, slice]:
    """Rows and columns of an image that a drawing, given as its text, lies on. Raises SpecError
    when it does not fit.
    """
    height, width = (scale * side for side in decode(drawing).shape[:2])
    size = (height, width)
    check_inside("A drawing", size, (row, column), image, "Move it, or make it smaller.")
    return slice(row, row + height), slice(column, column + width)


def check_frequency(frequency: int, width: int) -> None:
    """Raise SpecError for a sine wave that is zero in each of the `width` columns of an image: one
    whose frequency is a multiple of half the width.
    """
    if 2 * frequency % width == 0:
        raise SpecError(
            f"A wave of frequency {frequency} is zero in every one of {width} columns, so it "
            f"changes no value of an image of this width. Choose a frequency below {width / 2:g}: "
            f"from there on the same stripes come back."
        )


def check_opacity(drawing: str, alpha: float) -> None:
    """Raise SpecError for a drawing, given as its text, of which nothing can be seen: an empty one,
    or one whose most opaque pixel moves no value by half of one of 255 steps.
    """
    opaque = int(decode(drawing)[:, :, 3].max())
    if opaque == 0:
        raise SpecError("The drawing is empty: no pixel of it can be seen. Paint at least one.")
    if opaque * alpha < 0.5:
        raise SpecError(
            f"The most opaque pixel of the drawing has an opacity of {100 * opaque / 255:.2g} %; "
            f"at an alpha of {alpha:g} it changes a value by {opaque * alpha:.2g} of 255 at most, "
            "which is nothing in 8 bits. Paint it stronger, or raise alpha."
        )


def corner(position: str, size: int, margin: int, height: int, width: int) -> tuple[int, int]:
    """Row and column of the first pixel of a patch in one of `CORNERS`, `margin` pixels from
    the border.
    """
    return (
        margin if position.startswith("top") else height - size - margin,
        margin if position.endswith("left") else width - size - margin,
    )


def moved(
    place: tuple[int, int], size: tuple[int, int], image: tuple[int, int], by: int
) -> tuple[int, int] | None:
    """Row and column of a rectangle that moved `by` pixels in both directions towards the middle of
    the image; None when there is no room.

    size, image: height and width.
    """
    row, column = (
        place[i] - by if 2 * place[i] + size[i] > image[i] else place[i] + by for i in (0, 1)
    )
    inside = all(
        start >= 0 and start + size[i] <= image[i] for i, start in enumerate((row, column))
    )
    return (row, column) if inside else None


def check_fit(size: int, height: int, width: int) -> None:
    """Raise SpecError unless a trigger that needs `size` pixels in height and width fits into
    the image.
    """
    if size > min(height, width):
        raise SpecError(
            f"A trigger that needs {size}x{size} pixels does not fit into an image of "
            f"{height}x{width}."
        )
