"""The tables of the label store, how older files become today's, and the Arrow shapes of what comes out."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

APPLICATION_ID = 0x64554446
"""Marks an SQLite file as ours, in its header."""

SCHEMA_VERSION = 2

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

MIGRATIONS: Mapping[int, str] = {1: _VERSION_2}
"""What makes the next version of a file of this version; nothing stored is lost by it."""

SCHEMA = f"""
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
);
{_VERSION_2}
"""
"""A new file is version 1 and its migrations, so that both ways lead to the very same tables."""

EXPORT_SCHEMA = pa.schema(
    [
        ("label_key", pa.string()),
        ("ask", pa.string()),
        ("prompt_version", pa.string()),
        ("teacher", pa.string()),
        ("parameters", pa.string()),
        ("query", pa.string()),
        ("candidates", pa.list_(pa.string())),
        ("chosen", pa.int32()),
        ("choice", pa.int32()),
        ("confidence", pa.float64()),
        ("probabilities", pa.list_(pa.float64())),
        ("explanation", pa.string()),
        ("cost_usd", pa.float64()),
        ("input_tokens", pa.int64()),
        ("output_tokens", pa.int64()),
        ("seconds", pa.float64()),
        ("error", pa.string()),
        ("created_at", pa.string()),
    ]
)
"""One answer a row; `chosen` is what a `justify` question asked the reason of."""

IMPORTED_SCHEMA = pa.schema(
    [
        ("teacher", pa.string()),
        ("left_source", pa.string()),
        ("left_id", pa.string()),
        ("right_source", pa.string()),
        ("options", pa.list_(pa.string())),
        ("choice", pa.int32()),
        ("confidence", pa.float64()),
        ("explanation", pa.string()),
        ("imported_at", pa.string()),
    ]
)
