//! The attackers of `bench armour`, as a process of its own: thousands of connections that send a head byte by byte, and a
//! site that sends ten times what it may. It runs until its standard input ends, and then says what it did.

use crate::Arguments;
use crate::figures::print_line;
use crate::load::{self, Plan};
use anyhow::{Context, Result};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use socket2::{Domain, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Time between two bytes of a slow head.
const DRIP: Duration = Duration::from_secs(3);
/// Steps in which a round of bytes is sent, so that they do not come all at once.
const STEPS: usize = 100;
/// Connections from each address; fewer than the gateway allows one.
const PER_ADDRESS: usize = 1_000;
/// Last part of the address that opens far more than it may.
const GREEDY_HOST: u8 = 200;
const HEAD: &[u8] = b"POST /v1/heartbeats HTTP/1.1\r\nHost: gateway\r\nX-Slow: ";
/// Behind everything else on that core: the load that is measured must not wait for its attackers.
const NICENESS: i32 = 10;

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    raise_open_files()?;
    let target: SocketAddr = arguments.value("--target")?;
    let key: String = arguments.value("--key")?;
    let rate: f64 = arguments.value("--rate")?;
    let (slow, greedy): (usize, usize) = (arguments.value("--slow")?, arguments.value("--greedy")?);
    rustix::process::setpriority_process(None, NICENESS)?;
    let stop = AtomicBool::new(false);
    let plan = Plan {
        target,
        key: Some(&key),
        connections: 64,
        reports: 1,
        rate: Some(rate),
        warm_up: Duration::ZERO,
        duration: Duration::from_secs(24 * 3_600),
    };
    let (noisy, mob) = std::thread::scope(|scope| {
        let mob = scope.spawn(|| {
            let mut mob = Mob::new(target, slow, greedy);
            mob.drip(&stop)?;
            anyhow::Ok(mob)
        });
        let noisy = scope.spawn(|| load::run_politely(&plan, &stop));
        // What the parent sends does not matter, only that it ends.
        let ended = std::io::stdin().read_to_end(&mut Vec::new());
        stop.store(true, Ordering::Relaxed);
        ended?;
        let panicked = |_| anyhow::anyhow!("an attacker panicked");
        anyhow::Ok((
            noisy.join().map_err(panicked)??,
            mob.join().map_err(|_| anyhow::anyhow!("an attacker panicked"))??,
        ))
    })?;
    print_line(&json!({
        "noisy_answers": noisy.answers,
        "noisy_unanswered": noisy.unanswered,
        "noisy_requests_per_second": noisy.rate().round(),
        "slow_connections": mob.open(false),
        "greedy_connections": mob.open(true),
        "opened": mob.opened,
        "closed_by_gateway": mob.closed,
    }));
    Ok(())
}

/// As many open files as this process may have: thousands of connections need thousands.
pub(crate) fn raise_open_files() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).context("cannot raise the limit of open files")
}

/// Connections that never finish their request.
struct Mob {
    target: SocketAddr,
    slow: Vec<Slow>,
    opened: u64,
    closed: u64,
}

struct Slow {
    from: Ipv4Addr,
    socket: Option<Socket>,
}

impl Mob {
    /// `slow` of them from addresses that keep to what one may have, and `greedy` from a single address.
    fn new(target: SocketAddr, slow: usize, greedy: usize) -> Mob {
        let from = |index: usize| Ipv4Addr::new(127, 0, 0, (2 + index / PER_ADDRESS) as u8);
        let modest = (0..slow).map(|index| Slow { from: from(index), socket: None });
        let single = Ipv4Addr::new(127, 0, 0, GREEDY_HOST);
        let greedy = (0..greedy).map(|_| Slow { from: single, socket: None });
        Mob { target, slow: modest.chain(greedy).collect(), opened: 0, closed: 0 }
    }

    /// Sends a byte on each connection every few seconds, and reopens the closed ones. The first round opens all.
    fn drip(&mut self, stop: &AtomicBool) -> Result<()> {
        let step = self.slow.len().div_ceil(STEPS).max(1);
        for round in 0.. {
            for first in (0..self.slow.len()).step_by(step) {
                let began = Instant::now();
                for index in first..(first + step).min(self.slow.len()) {
                    self.touch(index)?;
                }
                if stop.load(Ordering::Relaxed) {
                    self.slow.iter_mut().for_each(|slow| self.closed += u64::from(slow.is_closed()));
                    return Ok(());
                }
                std::thread::sleep((DRIP / STEPS as u32).saturating_sub(began.elapsed()));
            }
            if round == 0 {
                print_line(
                    &json!({"ready": true, "slow_connections": self.open(false), "greedy_connections": self.open(true)}),
                );
            }
        }
        Ok(())
    }

    fn touch(&mut self, index: usize) -> Result<()> {
        let slow = &mut self.slow[index];
        if slow.socket.is_none() {
            slow.socket = slow.open(self.target)?;
            self.opened += u64::from(slow.socket.is_some());
        } else if slow.is_closed() {
            self.closed += 1;
        }
        Ok(())
    }

    fn open(&self, is_greedy: bool) -> usize {
        let counted = |slow: &&Slow| (slow.from.octets()[3] == GREEDY_HOST) == is_greedy && slow.socket.is_some();
        self.slow.iter().filter(counted).count()
    }
}

impl Slow {
    /// Sends its next byte, and says whether the gateway has closed the connection, which is gone then.
    fn is_closed(&mut self) -> bool {
        let Some(socket) = &mut self.socket else { return false };
        let is_closed = match socket.read(&mut [0; 512]) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => socket.write(b"a").is_err(),
            _ => true,
        };
        if is_closed {
            self.socket = None;
        }
        is_closed
    }

    /// `None` when the gateway does not take the connection now.
    fn open(&self, target: SocketAddr) -> Result<Option<Socket>> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((self.from, 0)).into())?;
        if socket.connect_timeout(&target.into(), Duration::from_millis(200)).is_err() {
            return Ok(None);
        }
        socket.set_nonblocking(true)?;
        let begun = (&socket).write(HEAD).is_ok();
        Ok(begun.then_some(socket))
    }
}
