//! Orphans come to us and are reaped, and none of our own exits is lost to that.
//!
//! A test file of its own, because it makes this process the parent of all orphans below it.

#[cfg(test)]
#[path = "host/world.rs"]
#[expect(dead_code, reason = "this file needs a part of it")]
mod world;

use circusd_rs::arbiter::input::Input;
use circusd_rs::host::runner::{Orphans, adopt_orphans};
use world::{World, eventually, sh, zombies};

const CHILDREN: i32 = 300;

#[test]
fn every_exit_of_ours_arrives_and_no_orphan_stays_a_zombie() {
    adopt_orphans().unwrap();
    World::play(64, Orphans::Adopted, async |world| {
        // Each leaves an orphan that has left its group and ends at about the same time.
        let script =
            |n| sh(&format!("setsid sh -c 'sleep 0.0{}' & setsid sh -c 'exit 9' & exit {}", n % 10, n % 100));
        let keys: Vec<_> = (0..CHILDREN).map(|n| world.spawn(script(n))).collect();
        let mut told = Vec::new();
        let mut lingering = 0;
        while told.len() < keys.len() || lingering > 0 {
            match world.next().await {
                Input::Spawned { .. } => {}
                Input::Gone { .. } => lingering -= 1,
                Input::Exited { key, exit_code, lingering: more, .. } => {
                    lingering += i32::from(more);
                    told.push((key, exit_code.unwrap()));
                }
                other => panic!("{other:?}"),
            }
        }
        told.sort();
        let expected: Vec<_> = keys.into_iter().zip((0..CHILDREN).map(|n| n % 100)).collect();
        assert_eq!(told, expected);
        let me = std::process::id().cast_signed();
        eventually(|| (world::children(me).is_empty() && zombies() == 0).then_some(())).await;
        world.quiet().await;
    });
}
