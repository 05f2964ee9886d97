-- A reorganisation lowers the low-water time, and leaves windows final that end after it.

alter table stream_watermarks add column highest_low_water timestamptz not null default '-infinity';

comment on column stream_watermarks.highest_low_water is
    'The highest low_water that the row is known to have had. No window is final that ends after both.';
