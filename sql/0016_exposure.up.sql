-- Columns that a watch shows to searches over REST.
select 1;
