"""The tables of the label store, and how older files become today's."""

from __future__ import annotations

from collections.abc import Mapping

APPLICATION_ID = 0x64554446
"""Marks an SQLite file as ours, in its header."""

SCHEMA_VERSION = 3

_VERSION_1 = """
create table labels (
    key text primary key, prompt_version text not null, teacher text not null, parameters text not null,
    query text not null, candidates text not null,
    choice integer, confidence real, probabilities text, explanation text, cost_usd real,
    input_tokens integer, output_tokens integer, seconds real, error text,
    created_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))
);
create index labels_by_query on labels (query);
create table imported (
    teacher text not null, left_source text not null, left_id text not null, right_source text not null,
    options text not null, choice integer, confidence real, explanation text,
    imported_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
    primary key (teacher, left_source, left_id)
)
"""

_VERSION_2 = """
alter table labels add column ask text not null default 'select';
alter table labels add column chosen integer;
create table mentions (
    key text not null, source text not null, id text not null, primary key (key, source, id)
) without rowid;
create index mentions_by_record on mentions (id, source);
create table secrets (name text primary key, value blob not null) without rowid;
create table claims (key text primary key, owner text not null, expires_at real not null) without rowid;
create index claims_by_owner on claims (owner)
"""

# Which records a question shows: place 0 is the query's, then its options'; `shown` tells apart the records that have
# the same texts. Where it is empty, only which records they are is known. A label that somebody brought names records.
_VERSION_3 = """
create table places (
    key text not null, shown text not null, place integer not null, source text not null, id text not null,
    primary key (key, shown, place)
) without rowid;
create index places_by_record on places (id, source);
insert into places (key, shown, place, source, id)
    select key, '', row_number() over (partition by key order by source, id), source, id from mentions;
drop table mentions;
create table brought (
    number integer primary key, teacher text not null, left_source text not null, left_id text not null,
    ask text not null, options text not null, choice integer, confidence real, probabilities text,
    explanation text, explanations text, stored_at text not null
);
insert into brought (teacher, left_source, left_id, ask, options, choice, confidence, explanation, stored_at)
    select teacher, left_source, left_id, iif(json_array_length(options) = 1, 'match', 'select'),
        (select json_group_array(json_array(right_source, value)) from json_each(options)),
        choice, confidence, explanation, imported_at
    from imported order by teacher, left_source, left_id;
drop table imported
"""

MIGRATIONS: Mapping[int, str] = {1: _VERSION_2, 2: _VERSION_3}
"""What makes the next version of a file of this version; nothing stored is lost by it."""

SCHEMA = ";".join((_VERSION_1, _VERSION_2, _VERSION_3))
"""A new file is version 1 and its migrations, so that both ways lead to the very same tables."""
