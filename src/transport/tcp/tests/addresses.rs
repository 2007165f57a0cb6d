//! The addresses of listeners, remotes and this machine.

use super::*;

#[tokio::test]
async fn port_0_becomes_the_bound_port() {
    let listener = listen("127.0.0.1:0").await;
    assert_ne!(listener.local_address().port(), 0);
    assert_eq!(listener.local_address().host(), address("127.0.0.1:1").host());
}

#[tokio::test]
async fn both_sides_know_the_other_sides_address() {
    let mut listener = listen("127.0.0.1:0").await;
    let here = dial(&listener.local_address()).await.unwrap();
    let there = accept(&mut listener).await;
    assert_eq!(here.remote, listener.local_address());
    assert_eq!(there.remote.host(), address("127.0.0.1:1").host());
    assert_ne!(there.remote.port(), listener.local_address().port());
}

#[tokio::test]
async fn a_mapped_remote_is_shown_as_ipv4() {
    assert_eq!(shown("[::ffff:192.0.2.7]:5".parse().unwrap()), address("192.0.2.7:5"));
    let mut listener = match Tcp::default().listen(&address("[::]:0")).await {
        Ok(listener) => listener,
        Err(error) => {
            println!("skipped: this machine has no IPv6 ({error})");
            return;
        }
    };
    let port = listener.local_address().port();
    let _here = match dial(&address(&format!("127.0.0.1:{port}"))).await {
        Ok(here) => here,
        Err(error) => {
            println!("skipped: an IPv6 socket does not serve IPv4 here ({error})");
            return;
        }
    };
    assert_eq!(accept(&mut listener).await.remote.host().to_string(), "127.0.0.1");
}

#[test]
fn the_own_host_is_the_ip_or_name_listened_at() {
    let tcp = Tcp::default();
    for at in ["192.0.2.7:9000", "[2001:db8::7]:9000", "host.name:9000"] {
        assert_eq!(tcp.own_host(&address(at)), *address(at).host());
    }
}

#[test]
fn the_own_host_of_every_interface_is_one_that_others_can_dial() {
    for at in ["0.0.0.0:9000", "[::]:9000"] {
        let Host::Ip(ip) = Tcp::default().own_host(&address(at)) else { panic!("not an IP") };
        assert!(!ip.is_unspecified() && !ip.is_multicast(), "{at}: {ip}");
    }
}

#[tokio::test]
async fn a_name_has_addresses_and_an_address_has_itself() {
    let resolve = async |host: &str| Tcp::default().resolve(&host.parse().unwrap()).await;
    let loopback = |host: &Host| matches!(host, Host::Ip(ip) if ip.is_loopback());
    let found = resolve("localhost").await.unwrap();
    assert!(!found.is_empty() && found.iter().all(loopback), "{found:?}");
    assert_eq!(resolve("192.0.2.1").await.unwrap(), ["192.0.2.1".parse::<Host>().unwrap()]);
}

#[test]
fn the_addresses_of_this_machine_are_known_without_a_packet() {
    let is_here = |host: &str| Tcp::default().is_here(&host.parse().unwrap());
    assert!(is_here("127.0.0.1"));
    for host in
        ["192.0.2.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "localhost"]
    {
        assert!(!is_here(host), "{host}");
    }
    if let Some(own) = route_v4() {
        assert!(Tcp::default().is_here(&Host::Ip(own)));
    }
}
