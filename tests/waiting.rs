//! Waiting for the device: for what was submitted before and no more, and without blocking an executor's thread.

mod common;

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context as Task, Poll, Waker};
use std::time::{Duration, Instant};

use common::{context, long_layer};
use sepconv::{Bound, Context, Tensor};

/// Set once the device is done with all that was submitted so far, and somebody has asked.
fn done(context: &Context) -> Arc<AtomicBool> {
    let done = Arc::new(AtomicBool::new(false));
    let flag = done.clone();
    context.queue().on_submitted_work_done(move || flag.store(true, Ordering::SeqCst));
    done
}

/// Polls once, lets a long layer be submitted, and then waits; asserts that it waited for what came before and not for
/// what came after, and that the first poll did not block.
fn check<T>(context: &Context, long: &Bound, future: impl Future<Output = sepconv::Result<T>>) {
    if context.adapter_info().name.contains("llvmpipe") {
        eprintln!("not run: llvmpipe may take no submission before it has done the one before it");
        context.wait_blocking().unwrap();
        return;
    }
    // As often as takes any device a fifth of a second. A GPU's first runs are at a lower clock.
    let time = || {
        let start = Instant::now();
        long.run().unwrap();
        context.wait_blocking().unwrap();
        start.elapsed()
    };
    let start = Instant::now();
    let mut once = time();
    while start.elapsed() < Duration::from_millis(200) {
        once = once.min(time());
    }
    let runs = (Duration::from_millis(200).as_nanos() / once.as_nanos()).clamp(1, 5000);
    let submit = |times| (0..times * runs).for_each(|_| long.run().unwrap());
    submit(1);
    let before = done(context);
    let mut future = pin!(future);
    let first = future.as_mut().poll(&mut Task::from_waker(Waker::noop()));
    assert!(matches!(first, Poll::Pending), "it blocked");
    assert!(!before.load(Ordering::SeqCst), "it blocked");
    submit(4);
    let after = done(context);
    pollster::block_on(future).unwrap();
    assert!(before.load(Ordering::SeqCst), "it did not wait");
    assert!(!after.load(Ordering::SeqCst), "it waited for what was submitted after it");
    context.wait_blocking().unwrap();
    assert!(after.load(Ordering::SeqCst));
}

#[test]
fn read_waits_for_its_own_copy() {
    let Some(context) = context() else { return };
    let tensor = Tensor::from_slice(context, [3], &[1.0, 2.0, 3.0]).unwrap();
    check(context, &long_layer(context), tensor.read());
    assert_eq!(pollster::block_on(tensor.read()).unwrap(), tensor.read_blocking().unwrap());
}

#[test]
fn wait_waits_for_what_was_submitted_before() {
    let Some(context) = context() else { return };
    check(context, &long_layer(context), context.wait());
}

/// An executor may move what waits from one of its threads to another.
#[test]
fn what_waits_may_change_threads() {
    fn is_send<T: Send>(_: T) {}
    // None of them is polled.
    is_send(Context::new());
    is_send(sepconv::adapters());
    let Some(context) = context() else { return };
    is_send(context.wait());
    is_send(Tensor::zeros(context, [1]).unwrap().read());
}

/// A future that is dropped while it waits leaves nothing behind that would panic or block.
#[test]
fn nobody_needs_to_wait_to_the_end() {
    let Some(context) = context() else { return };
    long_layer(context).run().unwrap();
    {
        let mut wait = pin!(context.wait());
        assert!(wait.as_mut().poll(&mut Task::from_waker(Waker::noop())).is_pending());
    }
    context.wait_blocking().unwrap();
}

/// Whoever waits, waits for no submission of another thread, and is not forgotten because of one.
#[test]
fn another_thread_may_submit_meanwhile() {
    let Some(context) = context() else { return };
    let (sender, receiver) = std::sync::mpsc::channel();
    // A wait that never ends must not hang the test.
    std::thread::spawn(move || {
        let bound = long_layer(context);
        for round in 0..60 {
            // It asks the driver for nothing itself.
            std::thread::scope(|scope| {
                scope.spawn(|| bound.run().unwrap());
                if round % 2 == 0 { pollster::block_on(context.wait()) } else { context.wait_blocking() }.unwrap();
            });
        }
        sender.send(()).unwrap();
    });
    receiver.recv_timeout(Duration::from_secs(120)).expect("a wait that ends");
}

/// Who waits runs callbacks, in place or on a thread of its own. One that panics stays the panic that it was.
#[test]
fn a_callback_that_panics_is_its_callers_panic() {
    let waits: [fn(&Context) -> sepconv::Result<()>; 4] = [
        |context| context.wait_blocking(),
        |context| pollster::block_on(context.wait()),
        |context| Tensor::zeros(context, [3])?.read_blocking().map(drop),
        |context| pollster::block_on(Tensor::zeros(context, [3])?.read()).map(drop),
    ];
    for wait in waits {
        // Of its own, so that no other test's wait meets the callback.
        let Some((device, queue)) = common::foreign_device(|_| ()) else { return };
        let context = Context::from_wgpu(device, queue).unwrap();
        long_layer(&context).run().unwrap();
        context.queue().on_submitted_work_done(|| panic!("of the callback"));
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait(&context))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"of the callback"));
        assert_eq!(context.lost(), None);
    }
}
