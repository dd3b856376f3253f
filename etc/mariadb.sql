-- The database and the account of ave-logd, for MariaDB and MySQL. Give it a password of your own first.
-- ave-logd makes the tables itself, and changes them as measurements get new columns.

CREATE DATABASE IF NOT EXISTS ave CHARACTER SET utf8mb4;

-- From other machines by TLS only; on the server's own machine AVE speaks none unless mysql.json says tls.
CREATE USER IF NOT EXISTS 'ave'@'%' IDENTIFIED BY 'CHANGE ME' REQUIRE SSL;
CREATE USER IF NOT EXISTS 'ave'@'localhost' IDENTIFIED BY 'CHANGE ME';
CREATE USER IF NOT EXISTS 'ave'@'127.0.0.1' IDENTIFIED BY 'CHANGE ME';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON ave.* TO 'ave'@'%';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON ave.* TO 'ave'@'localhost';
GRANT SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, INDEX, DROP ON ave.* TO 'ave'@'127.0.0.1';

-- For jobs that only ask (ave.report.oursql) and for `ave show` on other hosts.
CREATE USER IF NOT EXISTS 'ave_reader'@'%' IDENTIFIED BY 'CHANGE ME TOO' REQUIRE SSL;
CREATE USER IF NOT EXISTS 'ave_reader'@'localhost' IDENTIFIED BY 'CHANGE ME TOO';
CREATE USER IF NOT EXISTS 'ave_reader'@'127.0.0.1' IDENTIFIED BY 'CHANGE ME TOO';
GRANT SELECT ON ave.* TO 'ave_reader'@'%';
GRANT SELECT ON ave.* TO 'ave_reader'@'localhost';
GRANT SELECT ON ave.* TO 'ave_reader'@'127.0.0.1';
