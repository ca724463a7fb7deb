-- Impressions of each ad line by the earliest hour they reported.
create materialized view ad_hours as
select
    site,
    line_id,
    hour,
    sum(impressions) as impressions,
    sum(measurable) as measurable,
    sum(viewable) as viewable,
    sum(q1) as q1,
    sum(q2) as q2,
    sum(q3) as q3,
    sum(q4) as q4
from impressions
group by site, line_id, hour
