-- Rebuilds: windows computed again from the archive, while the stream goes on.

comment on table windows is
    'Windows that were computed from the archive, or whose sets of dimensions are counted.';

alter table windows
    alter column sets drop not null,
    add column generation bigint not null default 0,
    add column cut text collate "C",
    add column base_version integer;

create index windows_rebuilding on windows (metric_id) where cut is not null;

comment on column windows.sets is
    'How many buckets the window holds on the chain: one for each set of dimensions. Means nothing where it holds none; null '
    'where they have to be counted.';
comment on column windows.generation is 'The newest rebuild of the window; 0 for none.';
comment on column windows.cut is
    'While a rebuild is under way: the entry up to which it counts archived events. What the stream brings after that is kept '
    'beside, in next_state.';
comment on column windows.base_version is
    'The version of the definition under which its buckets were computed from the archive; null where they never were.';

create sequence rebuild_generation;

comment on sequence rebuild_generation is 'Gives windows.generation.';

alter table metrics_data
    add column next_state bytea,
    add column next_generation bigint;

comment on column metrics_data.next_state is
    'While a rebuild of its window is under way: what the stream has brought since the cut.';
comment on column metrics_data.next_generation is 'The rebuild to which next_state belongs.';
