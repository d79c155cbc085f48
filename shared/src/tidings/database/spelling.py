"""Spelling: a migration step that gives stored usernames back the Korean letters that NFKC took from them.

Usernames used to be stored in NFKC. It turns the letters of a Korean keyboard, such as `ㅋ` (U+314B), into conjoining
jamo, such as U+110F, which are drawn otherwise. No Korean keyboard types such a jamo alone, so what was typed is known.
What NFKC does to other letters cannot be undone: `mina` may have been typed in full width or not.
"""

import re
import unicodedata

import sqlalchemy as sa
from alembic import op

from tidings.database.columns import Id

ROWS_AT_ONCE = 1000
TYPED = {unicodedata.normalize("NFKC", letter): letter for letter in map(chr, range(0x3131, 0x3164))}
"""The letter of a Korean keyboard for each conjoining jamo that NFKC makes of one."""
_SYLLABLE = re.compile("[\u1100-\u115f\ua960-\ua97c][\u1160-\u11a7\ud7b0-\ud7c6]")
"""A leading and a vowel jamo side by side: an old Hangul syllable, which is drawn as one."""


def as_typed(name: str) -> str:
    """Return the name in NFKC as it was typed, as far as that is known; its NFKC form is still `name`."""
    if _SYLLABLE.search(name):
        return name
    return "".join(TYPED.get(character, character) for character in name)


def restore_spelling(table: str, column: str) -> None:
    """Write the names in `column` as they were typed; reads the table once, in the order of its primary key `id`."""
    bind = op.get_bind()
    names = sa.table(table, sa.column("id", Id), sa.column(column, sa.String))
    name = names.c[column]
    concerned = sa.or_(*(name.contains(jamo) for jamo in TYPED))
    page = sa.select(names.c.id, name).where(concerned).order_by(names.c.id).limit(ROWS_AT_ONCE)
    change = sa.update(names).where(names.c.id == sa.bindparam("row_id")).values({column: sa.bindparam("typed")})
    rows = bind.execute(page).all()
    while rows:
        bind.execute(change, [{"row_id": id_, "typed": as_typed(text)} for id_, text in rows])
        rows = bind.execute(page.where(names.c.id > rows[-1].id)).all()
