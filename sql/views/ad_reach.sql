-- Distinct users that each ad line reached on a day: exact, since all of a user's reports are on one partition.
create materialized view ad_reach as
select
    site,
    line_id,
    date_trunc('day', hour) as day,
    sum(users) as users
from impressions
where users <> 0
group by site, line_id, day
