//! How virtual time goes beside real time in a run.

use crate::crowd::{Crowd, Keeping, Part, Sent};
use crate::profile::Profile;
use crate::settings::{LoadError, Settings, check_span};
use crate::world::World;
use std::time::Duration;

/// Viewers from whom it is estimated what a crowd sends by itself.
const SAMPLE_VIEWERS: u32 = 2_000;
/// Virtual time for which they are watched; at least SAMPLE_MS_PER_REPORT, ten usual beats, for each report that a device
/// gathers; ms.
const SAMPLE_MS: u32 = 300_000;
const SAMPLE_MS_PER_REPORT: u32 = 50_000;
/// Time for what is late at the end of a run at a constant rate.
const SLACK: f64 = 1.1;

/// Virtual time of a run.
pub(crate) struct Course {
    pub(crate) span: Duration,
    /// How far it begins before real time.
    pub(crate) behind: Duration,
}

/// What viewers send by themselves.
struct Habit {
    /// Requests a second, once all are there.
    rate: f64,
    /// How far their requests lag behind a schedule that has this rate from the first instant.
    lead: Duration,
}

impl Course {
    /// At their own pace viewers live through the run's duration times the speed-up. At a constant rate they live as fast as the
    /// rate needs, estimated from some of them, and begin before the run, early enough that the rate never waits for a viewer.
    pub(crate) fn new(settings: &Settings, profile: &Profile) -> Result<Course, LoadError> {
        let duration = settings.duration;
        let Some(rate) = settings.rate else {
            let span = duration * settings.speedup;
            return Ok(Course { span, behind: span - duration });
        };
        let habit = Habit::of(settings, profile);
        let refused = LoadError::Rate { natural: habit.rate as u64, rate };
        if habit.rate == 0.0 {
            return Err(refused);
        }
        let faster = (f64::from(rate) / habit.rate * SLACK).max(1.0);
        let span = duration.mul_f64(faster) + habit.lead;
        check_span(span, duration).map_err(|_| refused)?;
        Ok(Course { span, behind: span - duration })
    }
}

impl Habit {
    fn of(settings: &Settings, profile: &Profile) -> Habit {
        let viewers = SAMPLE_VIEWERS.min(settings.viewers);
        let watched_ms = SAMPLE_MS.max(settings.batch as u32 * SAMPLE_MS_PER_REPORT);
        // Their world lasts longer than that: a viewer who leaves sends what it has gathered, and nobody is to leave.
        let world = World::new(profile, settings.seed, 0, 2 * watched_ms);
        let mut crowd = Crowd::new(world.clone(), viewers, settings.batch, Part::WHOLE, Keeping::Nothing);
        let mut sent = Sent::empty(&world);
        let mut dues_ms = Vec::new();
        while crowd.take(&mut sent) && sent.due_ms < watched_ms {
            dues_ms.push(sent.due_ms);
            crowd.wait(sent.device);
        }
        let settled = dues_ms.iter().filter(|due_ms| **due_ms >= watched_ms / 2).count();
        let per_ms = settled as f64 / f64::from(watched_ms / 2);
        let lag_ms = |(number, due_ms): (usize, &u32)| f64::from(*due_ms) - number as f64 / per_ms;
        let lead_ms = if settled == 0 { 0.0 } else { dues_ms.iter().enumerate().map(lag_ms).fold(0.0, f64::max) };
        let crowds = f64::from(settings.viewers) / f64::from(settings.part.of) / f64::from(viewers);
        Habit { rate: per_ms * 1e3 * crowds, lead: Duration::from_secs_f64(lead_ms / 1e3) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many requests of a run are due before their viewer has got that far.
    fn early(batch: usize, rate: u32) -> usize {
        let settings = Settings {
            viewers: 3_000,
            rate: Some(rate),
            batch,
            duration: Duration::from_secs(30),
            ..Settings::new(String::new())
        };
        let course = Course::new(&settings, &settings.profile).unwrap();
        let world = World::new(&settings.profile, settings.seed, 0, course.span.as_millis() as u32);
        let mut crowd = Crowd::new(world.clone(), settings.viewers, batch, Part::WHOLE, Keeping::Nothing);
        let mut sent = Sent::empty(&world);
        let is_early = |number: u32| {
            assert!(crowd.take(&mut sent), "request {number} of {batch} reports, {rate}/s: nobody is left");
            crowd.wait(sent.device);
            f64::from(sent.due_ms) / 1e3 > course.behind.as_secs_f64() + f64::from(number) / f64::from(rate)
        };
        (0..30 * rate).map(is_early).filter(|is_early| *is_early).count()
    }

    #[test]
    fn at_a_constant_rate_no_request_has_to_wait_for_its_viewer() {
        for (batch, rate) in [(1, 100), (1, 600), (1, 3_000), (12, 10), (12, 45), (12, 300), (100, 1), (100, 100)] {
            assert_eq!(early(batch, rate), 0, "{batch} reports a request, {rate}/s");
        }
    }
}
