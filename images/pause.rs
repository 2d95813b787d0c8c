//! The process that holds a pod's namespaces on the test cluster: it waits for its end and does nothing else.

fn main() {
    loop {
        std::thread::park();
    }
}
