//! Counts the primes below ten million.

fn main() {
    const END: usize = 10_000_000;
    let mut is_prime = vec![true; END];
    is_prime[..2].fill(false);
    let mut number = 2;
    while number * number < END {
        if is_prime[number] {
            is_prime.iter_mut().skip(number * number).step_by(number).for_each(|is_prime| *is_prime = false);
        }
        number += 1;
    }
    println!("{} primes below {END}", is_prime.iter().filter(|is_prime| **is_prime).count());
}
