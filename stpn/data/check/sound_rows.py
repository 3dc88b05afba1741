"""What is sound in a JSON file of tables that the loader refuses."""

import re

from ...errors import InputError
from ..datasets.json_tables import problem_text

_ROW = re.compile(r"(\w+)\[(\d+)\]")


def refuse_lacking(path, problems):
    """InputError when any of the Problems is of a whole table or of the file."""
    lacking = [problem for problem in problems if not _ROW.match(problem.where)]
    if lacking:
        raise InputError("; ".join(f"{path}{problem_text(problem)}" for problem in lacking))


def sound_rows(content, problems, tables):
    """-> {table: list of (index, row)} without the rows that a fatal problem is about."""
    wrong = {_ROW.match(problem.where).groups() for problem in problems if problem.fatal}
    return {table: [(i, row) for i, row in enumerate(content[table]) if (table, str(i)) not in wrong]
            for table in tables}


def in_file(problem, places):
    """A Problem of a content of sound rows alone -> the same with the rows' indices in the file. places: {table: their
    indices}."""
    def original(row):
        table, i = row.groups()
        return f"{table}[{places[table][int(i)]}]" if table in places else row.group()
    return problem._replace(where=_ROW.sub(original, problem.where, count=1),
                            message=_ROW.sub(original, problem.message))
