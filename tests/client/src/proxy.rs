//! A network that does what a test wants: it passes bytes on, swallows them, or breaks.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What the network does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weather {
    /// It passes bytes on.
    Fine,
    /// What the server sends is swallowed.
    NoAnswers,
    /// Connections are broken, and new ones are not taken.
    Down,
}

/// A network between clients and a server.
#[derive(Debug)]
pub struct Proxy {
    /// Where clients connect to.
    pub address: SocketAddr,
    weather: watch::Sender<Weather>,
}

impl Proxy {
    /// A network in front of this server.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    pub async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (weather, now) = watch::channel(Weather::Fine);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *now.borrow() != Weather::Down {
                    tokio::spawn(pass(client, server, now.clone()));
                }
            }
        });
        Self { address, weather }
    }

    /// Changes what it does, also to connections that are open.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn pass(client: TcpStream, server: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let now = weather.clone();
    let there = tokio::io::copy(&mut from_client, &mut to_server);
    let back = async {
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let count = from_server.read(&mut buffer).await.unwrap_or(0);
            if count == 0 {
                return;
            }
            if *now.borrow() == Weather::Fine && to_client.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        _ = there => {}
        () = back => {}
        _ = weather.wait_for(|weather| *weather == Weather::Down) => {}
    }
}
