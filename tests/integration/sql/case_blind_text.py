"""A type like citext, which not every server has: 'A' = 'a', by an operator that is not built in."""

from __future__ import annotations

from tests.integration.sql.session import Connection, run

_CREATE = """
create type case_blind;
create function case_blind_in(cstring) returns case_blind language internal immutable strict as 'textin';
create function case_blind_out(case_blind) returns cstring language internal immutable strict as 'textout';
create type case_blind (input = case_blind_in, output = case_blind_out, like = text, category = 'S');
create cast (case_blind as text) without function as implicit;
create cast (text as case_blind) without function as assignment;
create function case_blind_cmp(a case_blind, b case_blind) returns integer language sql immutable strict
    as 'select bttextcmp(lower(a::text), lower(b::text))';
"""
_OPERATORS = {"<": (1, ">"), "<=": (2, ">="), "=": (3, "="), ">=": (4, "<="), ">": (5, "<")}


def create_case_blind_text(db: Connection) -> None:
    """Creates type `case_blind` with the operators that a primary key needs."""
    run(db, _CREATE)
    for name, (number, commutator) in _OPERATORS.items():
        run(
            db,
            f"""
            create function case_blind_{number}(a case_blind, b case_blind) returns boolean
                language sql immutable strict as 'select case_blind_cmp(a, b) {name} 0';
            create operator {name} (leftarg = case_blind, rightarg = case_blind, function = case_blind_{number},
                                    commutator = operator(public.{commutator}));
            """,
        )
    strategies = ", ".join(f"operator {number} {name}" for name, (number, _) in _OPERATORS.items())
    run(
        db,
        f"""
        create operator class case_blind_ops default for type case_blind using btree as
            {strategies}, function 1 case_blind_cmp(case_blind, case_blind)
        """,
    )
