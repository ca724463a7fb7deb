//! The ids of a run: made of its name and small numbers, and read back into them. All begin with the run's name, so that
//! its rows are found in a database that others use too.

use crate::report::{CORRECTED_TITLE, Report, Who};

/// Makes and reads the ids of one run.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    run: String,
}

impl Names {
    pub(crate) fn new(run: &str) -> Names {
        Names { run: run.to_owned() }
    }

    /// What all ids begin with.
    pub(crate) fn prefix(&self) -> String {
        format!("{}-", self.run)
    }

    pub(crate) fn user(&self, number: u32) -> String {
        text(|out| self.put_user(out, number))
    }

    pub(crate) fn session(&self, number: u32, player: u8, session: u32) -> String {
        text(|out| self.put_on_device(out, number, player, b's', session))
    }

    pub(crate) fn title(&self, title: u32) -> String {
        text(|out| self.put_title(out, title))
    }

    pub(crate) fn line(&self, line: u16) -> String {
        text(|out| self.put_line(out, line))
    }

    pub(crate) fn put_user(&self, out: &mut Vec<u8>, number: u32) {
        self.put(out, b'u', number);
    }

    pub(crate) fn put_session(&self, out: &mut Vec<u8>, who: Who, report: &Report) {
        self.put_on_device(out, who.number, who.player, b's', report.session);
    }

    pub(crate) fn put_impression(&self, out: &mut Vec<u8>, who: Who, impression: u32) {
        self.put_on_device(out, who.number, who.player, b'i', impression);
    }

    pub(crate) fn put_title(&self, out: &mut Vec<u8>, title: u32) {
        let kind = if title & CORRECTED_TITLE == 0 { b'v' } else { b'k' };
        self.put(out, kind, title & !CORRECTED_TITLE);
    }

    pub(crate) fn put_line(&self, out: &mut Vec<u8>, line: u16) {
        self.put(out, b'l', line.into());
    }

    /// Number of the account with this id.
    pub(crate) fn user_of(&self, id: &str) -> Option<u32> {
        self.after(id)?.strip_prefix('u')?.parse().ok()
    }

    /// Account, device and number of the session with this id.
    pub(crate) fn session_of(&self, id: &str) -> Option<(u32, u8, u32)> {
        let (user, session) = id.rsplit_once('s')?;
        let (user, player) = user.rsplit_once('-')?;
        Some((self.user_of(user)?, player.parse().ok()?, session.parse().ok()?))
    }

    /// Number of the title with this id.
    pub(crate) fn title_of(&self, id: &str) -> Option<u32> {
        let rest = self.after(id)?;
        match rest.strip_prefix('k') {
            Some(number) => Some(number.parse::<u32>().ok()? | CORRECTED_TITLE),
            None => rest.strip_prefix('v')?.parse().ok(),
        }
    }

    /// Number of the line with this id.
    pub(crate) fn line_of(&self, id: &str) -> Option<u16> {
        self.after(id)?.strip_prefix('l')?.parse().ok()
    }

    fn after<'a>(&self, id: &'a str) -> Option<&'a str> {
        id.strip_prefix(self.run.as_str())?.strip_prefix('-')
    }

    fn put(&self, out: &mut Vec<u8>, kind: u8, number: u32) {
        out.extend_from_slice(self.run.as_bytes());
        out.extend_from_slice(&[b'-', kind]);
        put_number(out, number.into());
    }

    fn put_on_device(&self, out: &mut Vec<u8>, number: u32, player: u8, kind: u8, of_kind: u32) {
        self.put(out, b'u', number);
        out.extend_from_slice(&[b'-', b'0' + player, kind]);
        put_number(out, of_kind.into());
    }
}

fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    write(&mut out);
    String::from_utf8(out).expect("names are ASCII")
}

/// Appends the digits of a number.
pub(crate) fn put_number(out: &mut Vec<u8>, number: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_into_their_numbers() {
        let names = Names::new("r1-s2");
        for number in [0, 7, 10, 4_294_967_295] {
            assert_eq!(names.user_of(&names.user(number)), Some(number));
            assert_eq!(names.session_of(&names.session(number, 1, number)), Some((number, 1, number)));
        }
        for title in [0, 12, CORRECTED_TITLE, CORRECTED_TITLE | 12] {
            assert_eq!(names.title_of(&names.title(title)), Some(title));
        }
        assert_eq!(names.line_of(&names.line(3)), Some(3));
        assert_eq!(names.user_of("other-u1"), None);
    }
}
