"""The labels of enums are part of a schema; however many there are, the schema stays one that a reader takes."""

from workbench import Workbench

LABELS, COLUMNS = 10_000, 120  # 70 MB, if each column had its list


def test_an_enum_of_many_labels_in_many_columns(workbench: Workbench) -> None:
    cursor = workbench.cursor
    labels = [f"{number:05}" + "x" * 55 for number in range(LABELS)]
    cursor.execute(f"create type public.many as enum ({', '.join(f'{label!r}' for label in labels)})")
    cursor.execute("create type public.few as enum ('a', 'b'); create type public.none as enum ()")
    columns = ", ".join(f"c{number} public.many" for number in range(COLUMNS))
    cursor.execute(f"create table public.t (id int primary key, {columns}, few public.few, none public.none)")
    cursor.execute("insert into public.t (id, c0, c119, few) values (1, %s, %s, 'b')", (labels[0], labels[-1]))

    assert sum(map(len, workbench.frames(workbench.name))) < 2 * 1024 * 1024
    walferry = workbench.ship()
    ((change, message),) = workbench.canal()
    assert walferry.stop() == 0
    assert change.after is not None
    assert (change.after["c0"], change.after["c119"], change.after["few"]) == (labels[0], labels[-1], "b")
    # All are known as enums, with and without their list.
    assert {message["sqlType"][name] for name in change.after if name != "id"} == {12}
