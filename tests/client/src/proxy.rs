//! A network that does what a test wants: it passes bytes on, swallows them, or breaks.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
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

/// A link between clients and a server that is slow, and holds little of what is on its way.
#[derive(Debug)]
pub struct SlowLink {
    /// Where clients connect to.
    pub address: SocketAddr,
}

impl SlowLink {
    /// A link in front of this server, with so much for each connection and direction.
    ///
    /// # Panics
    ///
    /// When there is no port for it.
    pub async fn start(server: SocketAddr, bytes_per_second: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(4 * 1024).expect("a size");
        socket.bind(([127, 0, 0, 1], 0).into()).expect("a port");
        let listener = socket.listen(16).expect("listens");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let (from_client, to_client) = client.into_split();
                    let (from_server, to_server) = server.into_split();
                    tokio::select! {
                        () = trickle(from_client, to_server, bytes_per_second) => {}
                        () = trickle(from_server, to_client, bytes_per_second) => {}
                    }
                });
            }
        });
        Self { address }
    }
}

async fn trickle(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, bytes_per_second: u32) {
    let mut buffer = [0; 1024];
    loop {
        let count = from.read(&mut buffer).await.unwrap_or(0);
        if count == 0 || to.write_all(&buffer[..count]).await.is_err() {
            return;
        }
        tokio::time::sleep(Duration::from_secs_f64(count as f64 / f64::from(bytes_per_second))).await;
    }
}
