//! Apps, connections, a network and a server, with a simulated clock and seeded chances: connections break, fall
//! silent or are refused at any point.

mod app;
mod server;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use self::app::App;
use self::server::Server;
use super::{Action, Connection, Dialect, Protocol, Timing};
use crate::random::Random;
use crate::state::OfflineReason;

const APPS: usize = 3;
/// How long things go wrong, and how long they then have to come right.
const TROUBLE: Duration = Duration::from_secs(40);
const CALM: Duration = Duration::from_secs(60);
const TICK: Duration = Duration::from_millis(20);

#[derive(Debug)]
enum ToClient {
    Opened,
    Frame(String),
    SocketPong,
    Lost,
}

#[derive(Debug)]
enum ToServer {
    Frame(String),
    SocketPing,
}

/// One connection: what is on its way, and when it arrives.
#[derive(Debug, Default)]
struct Socket {
    app: usize,
    to_server: VecDeque<(Duration, ToServer)>,
    to_client: VecDeque<(Duration, ToClient)>,
    /// Swallows everything from now on.
    silent: bool,
    /// The client has given it up; what is on its way to the server may still arrive.
    abandoned: bool,
}

struct World {
    now: Duration,
    random: Random,
    server: Server,
    connections: Vec<Connection>,
    apps: Vec<App>,
    sockets: BTreeMap<usize, Socket>,
    last_socket: usize,
    losses: usize,
}

impl World {
    fn new(protocol: Protocol, reference: bool, seed: u64) -> Self {
        let timing = Timing { poll_interval: Duration::from_millis(500), ..Timing::default() };
        let connection =
            |app| Connection::new(Dialect::new(protocol, "s".into(), seed + app), timing, seed.wrapping_mul(31) + app);
        Self {
            now: Duration::ZERO,
            random: Random::new(seed),
            server: Server::new(protocol, reference),
            connections: (0..APPS as u64).map(connection).collect(),
            apps: (0..APPS).map(App::new).collect(),
            sockets: BTreeMap::new(),
            last_socket: 0,
            losses: 0,
        }
    }

    fn run(&mut self) {
        for app in 0..APPS {
            let command = self.apps[app].start();
            self.connections[app].handle_command(self.now, command);
        }
        while self.now < TROUBLE + CALM {
            self.now += TICK;
            let calm = self.now > TROUBLE;
            if !calm {
                self.trouble();
            }
            self.deliver();
            for app in 0..APPS {
                if self.connections[app].poll_timeout().is_some_and(|at| at <= self.now) {
                    self.connections[app].handle_timeout(self.now);
                    self.perform(app);
                }
                let acts = calm || self.random.below(4) == 0;
                if let Some(command) = acts.then(|| self.apps[app].act(&mut self.random, calm)).flatten() {
                    self.connections[app].handle_command(self.now, command);
                    self.perform(app);
                }
            }
        }
    }

    /// Something may go wrong.
    fn trouble(&mut self) {
        let Some(&socket) = self.sockets.keys().nth(self.random.below(8) as usize) else { return };
        match self.random.below(60) {
            0 => self.cut(socket),
            1 if self.random.below(4) == 0 => self.sockets.get_mut(&socket).expect("open").silent = true,
            _ => {}
        }
    }

    /// The connection breaks: of what is on its way, some arrives.
    fn cut(&mut self, id: usize) {
        self.losses += 1;
        let now = self.now;
        let socket = self.sockets.get_mut(&id).expect("open");
        let arrives = self.random.below(1 + socket.to_client.len() as u64) as usize;
        socket.to_client.truncate(arrives);
        socket.to_client.push_back((now, ToClient::Lost));
        let arrives = self.random.below(1 + socket.to_server.len() as u64) as usize;
        socket.to_server.truncate(arrives);
        socket.abandoned = true;
        if self.random.below(2) == 0 {
            self.server.close(id);
        }
    }

    fn deliver(&mut self) {
        let now = self.now;
        for id in self.sockets.keys().copied().collect::<Vec<_>>() {
            let due = |at: Option<&Duration>| at.is_some_and(|at| *at <= now);
            while due(self.sockets[&id].to_server.front().map(|(at, _)| at)) {
                let frame = self.sockets.get_mut(&id).and_then(|socket| socket.to_server.pop_front());
                match frame.expect("due").1 {
                    ToServer::Frame(frame) => {
                        let out = self.server.handle(id, &frame);
                        self.send_to_clients(out);
                    }
                    ToServer::SocketPing => self.send_to_client(id, ToClient::SocketPong),
                }
            }
            while self.sockets.get(&id).is_some_and(|socket| due(socket.to_client.front().map(|(at, _)| at))) {
                let socket = self.sockets.get_mut(&id).expect("open");
                let (app, (_, event)) = (socket.app, socket.to_client.pop_front().expect("due"));
                let connection = &mut self.connections[app];
                match event {
                    ToClient::Opened => connection.handle_opened(now),
                    ToClient::Frame(frame) => connection.handle_frame(now, &frame),
                    ToClient::SocketPong => connection.handle_socket_pong(now),
                    ToClient::Lost => {
                        connection.handle_lost(now, OfflineReason::Lost { message: "cut".into() });
                    }
                }
                self.perform(app);
            }
        }
        if self.random.below(5) == 0 {
            let count = self.server.later.len().div_ceil(4);
            let out = self.server.later.drain(..count).collect();
            self.send_to_clients(out);
        }
        self.sockets
            .retain(|_, socket| !socket.abandoned || !socket.to_server.is_empty() || !socket.to_client.is_empty());
    }

    fn send_to_clients(&mut self, frames: Vec<server::Out>) {
        for (socket, frame) in frames {
            self.send_to_client(socket, ToClient::Frame(frame));
        }
    }

    fn send_to_client(&mut self, id: usize, event: ToClient) {
        let delay = Duration::from_millis(self.random.below(100));
        let Some(socket) = self.sockets.get_mut(&id).filter(|socket| !socket.silent && !socket.abandoned) else {
            return;
        };
        let at = socket.to_client.back().map_or(Duration::ZERO, |(at, _)| *at).max(self.now + delay);
        socket.to_client.push_back((at, event));
    }

    fn send_to_server(&mut self, app: usize, event: ToServer) {
        let delay = Duration::from_millis(self.random.below(100));
        let open = |socket: &&mut Socket| socket.app == app && !socket.abandoned && !socket.silent;
        if let Some(socket) = self.sockets.values_mut().find(open) {
            let at = socket.to_server.back().map_or(Duration::ZERO, |(at, _)| *at).max(self.now + delay);
            socket.to_server.push_back((at, event));
        }
    }

    fn perform(&mut self, app: usize) {
        while let Some(action) = self.connections[app].poll_action() {
            match action {
                Action::Open => self.open(app),
                Action::Close => {
                    for (id, socket) in self.sockets.iter_mut().filter(|(_, socket)| socket.app == app) {
                        socket.abandoned = true;
                        socket.to_client.clear();
                        if socket.to_server.is_empty() {
                            self.server.close(*id);
                        }
                    }
                }
                Action::Send { frame, .. } => self.send_to_server(app, ToServer::Frame(frame)),
                Action::SocketPing => self.send_to_server(app, ToServer::SocketPing),
                Action::Cancel { .. } | Action::State(_) | Action::Ponged { .. } => {}
                Action::Page { key, page } => self.apps[app].page(key, page),
                Action::Pulled { key, result } => {
                    let app = &mut self.apps[app];
                    let pulled = app.pulls.remove(&key).expect("live pulls do not end");
                    app.waiting.retain(|waiting| *waiting != key);
                    assert!(self.server.log.starts_with(&pulled), "pulls give the log");
                    assert!(result.is_ok() || self.losses > 0, "{result:?}");
                }
                Action::Pushed { key, result } => self.apps[app].pushed(key, result, &self.server.log),
            }
        }
    }

    fn open(&mut self, app: usize) {
        self.last_socket += 1;
        let id = self.last_socket;
        self.sockets.insert(id, Socket { app, ..Socket::default() });
        let opened = self.now > TROUBLE || self.random.below(4) > 0;
        if opened {
            self.server.open(id);
        }
        self.send_to_client(id, if opened { ToClient::Opened } else { ToClient::Lost });
    }

    /// Everything is right in the end.
    fn check(&self) {
        assert!(self.losses > 2, "{} losses", self.losses);
        let log = &self.server.log;
        assert!(log.len() > 30, "{} events", log.len());
        let mut names: Vec<_> = log.iter().map(|event| &event.name).collect();
        names.sort();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "nothing is stored twice");
        for (app, connection) in self.apps.iter().zip(&self.connections) {
            assert_eq!(app.log.len(), log.len(), "everybody has everything");
            assert_eq!(app.log, *log);
            assert!(app.push.is_none() && app.pulls.is_empty(), "everything has been answered: {app:?}");
            assert!(app.stored.iter().all(|name| names.binary_search(&name).is_ok()));
            assert_eq!((connection.pulls.len(), connection.pushes.len()), (1, 0), "nothing is left");
            assert!(connection.requests.len() <= 1, "{:?}", connection.requests);
        }
        let open = self.sockets.iter().filter(|(_, socket)| !socket.abandoned).map(|(id, _)| id);
        for id in open {
            let pulls: Vec<_> = self.server.pulls[id].values().collect();
            assert!(pulls.len() <= 1 && pulls.iter().all(|pull| pull.live), "{pulls:?}");
        }
    }
}

/// More for a thorough search: each is 40 seconds of trouble.
const SEEDS: u64 = 4;

fn simulate(protocol: Protocol, reference: bool) {
    for seed in 0..SEEDS {
        let mut world = World::new(protocol, reference, seed);
        // The seed is what a failure is repeated with.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            world.run();
            world.check();
        }));
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn v04_over_a_socket() {
    simulate(Protocol::V04Ws, false);
}

#[test]
fn v04_over_a_socket_of_the_reference() {
    simulate(Protocol::V04Ws, true);
}

#[test]
fn v04_over_http() {
    simulate(Protocol::V04Http, false);
}

#[test]
fn v04_over_http_of_the_reference() {
    simulate(Protocol::V04Http, true);
}

#[test]
fn v03() {
    simulate(Protocol::V03, false);
}

#[test]
fn v03_of_the_reference() {
    simulate(Protocol::V03, true);
}
